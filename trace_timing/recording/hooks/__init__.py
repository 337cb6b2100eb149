"""Wrappers and hooks on a model, by which each generate() reports its stages."""
