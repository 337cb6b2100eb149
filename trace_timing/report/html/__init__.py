"""The HTML pages, which need no network."""
