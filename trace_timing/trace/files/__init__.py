"""Trace files: opened, cached, verified; the compact store."""
