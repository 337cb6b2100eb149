"""Comparison of two captures, or of two recordings of servers."""
