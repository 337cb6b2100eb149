"""Comparing two captures."""
