"""capture(): recording generate() calls."""
