"""What the figures of many runs say: summaries, comparison, audit, labels. Data in, data out."""
