"""From range names to stages: the default names, built-in maps, a user's patterns."""
