"""Results from timelines: latencies, warnings, summaries, comparison, audit. Data in, data out."""
