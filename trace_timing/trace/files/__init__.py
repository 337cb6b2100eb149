"""Open, cache and verify trace files; the compact store."""
