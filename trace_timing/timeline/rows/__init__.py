"""Rows of the tables, and the checks on them."""
