"""Rows of `stages`, `device_stages`, `steps` and `kernels`, and the five checks on them."""
