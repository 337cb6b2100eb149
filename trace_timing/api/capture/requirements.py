"""Check that the packages that a capture needs are installed."""

from __future__ import annotations

import importlib.util

from trace_timing.errors import needs_extra

#: The packages of the extra `capture` that every capture needs.
PACKAGES = ("torch", "transformers", "accelerate", "PIL")
_NAMES = {"PIL": "pillow"}


def missing_package() -> str | None:
    """The first package that is not installed."""
    missing = (name for name in PACKAGES if importlib.util.find_spec(name) is None)
    return next((_NAMES.get(name, name) for name in missing), None)


def require_packages() -> None:
    """Check that all are installed.

    Raises:
        UsageError: with how to install it.
    """
    if missing := missing_package():
        raise needs_extra("capture", missing, "capture")
