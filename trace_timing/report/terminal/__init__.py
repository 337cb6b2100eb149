"""The same results for the terminal."""
