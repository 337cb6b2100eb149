"""Integrity checks on a trace's events alone; docs/integrity.md lists all checks."""
