"""Annotated traces for Perfetto and the Chrome trace viewer."""
