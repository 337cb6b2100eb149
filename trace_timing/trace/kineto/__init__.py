"""Kineto JSON: found, decoded and turned into exact columns."""
