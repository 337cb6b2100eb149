"""Whether a trace's runs can be trusted: checks on ranges and stages. docs/integrity.md."""
