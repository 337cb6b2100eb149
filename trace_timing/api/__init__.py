"""What `import trace_timing` offers: capture() and analyze(), each loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Analysis", "analyze", "capture"]

if TYPE_CHECKING:
    from trace_timing.api.analysis import Analysis, analyze
    from trace_timing.api.capturing import capture


def __getattr__(name: str) -> object:
    # Lazy: capture needs torch, and analysis must never meet it.
    if name == "capture":
        from trace_timing.api.capturing import capture

        return capture
    if name in ("Analysis", "analyze"):
        from trace_timing.api import analysis

        return getattr(analysis, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
