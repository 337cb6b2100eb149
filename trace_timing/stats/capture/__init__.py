"""What the runs of a capture say together: spread, growth, summaries, ranks."""
