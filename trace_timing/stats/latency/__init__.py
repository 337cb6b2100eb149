"""Latencies of a sample's stages, by the best evidence there is; the sample table."""
