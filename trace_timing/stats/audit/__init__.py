"""Audit of older results: what wall-clock subtraction did to existing labels."""
