"""Checks of a machine, and the rates that its device reaches."""
