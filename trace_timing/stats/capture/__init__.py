"""Statistics over the runs of a capture: spread, growth, summaries, ranks."""
