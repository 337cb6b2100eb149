"""analyze(): traces in, tables and a report out."""
