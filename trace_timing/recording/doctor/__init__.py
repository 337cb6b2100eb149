"""Checks of the machine, and measured rates of its device."""
