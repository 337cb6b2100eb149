"""Outputs for people: HTML pages, figures, terminal text, files, annotated traces."""
