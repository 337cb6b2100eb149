"""Whether a trace can be trusted: checks on its events alone. docs/integrity.md has the list."""
