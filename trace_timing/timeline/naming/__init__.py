"""Range names to stages: the default names, built-in maps, patterns of a user."""
