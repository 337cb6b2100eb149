"""Packages that a capture does not do without."""

from __future__ import annotations

import importlib.util

from trace_timing.errors import needs_extra

#: Of the extra `capture`, what no capture does without.
PACKAGES = ("torch", "transformers", "accelerate", "PIL")
_NAMES = {"PIL": "pillow"}


def missing_package() -> str | None:
    """The first package that is not installed."""
    missing = (name for name in PACKAGES if importlib.util.find_spec(name) is None)
    return next((_NAMES.get(name, name) for name in missing), None)


def require_packages() -> None:
    """Refuse to go on without what a capture needs.

    Raises:
        UsageError: with how to install it.
    """
    if missing := missing_package():
        raise needs_extra("capture", missing, "capture")
