"""Read traces into one table of events, link ops to launches, check integrity."""
