"""capture() and timed(): record generate() calls."""
