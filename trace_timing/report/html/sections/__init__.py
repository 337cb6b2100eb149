"""Pages that bring their own data."""
