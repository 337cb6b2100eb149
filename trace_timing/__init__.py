"""Stage latencies of multimodal generate() calls, read from the GPU kernel timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["__version__", "analyze", "capture"]

if TYPE_CHECKING:
    from trace_timing.api import analyze, capture
    from trace_timing.records import TOOL_VERSION as __version__


def __getattr__(name: str) -> object:
    # Lazy, so that `import trace_timing` costs nothing and analysis never meets torch.
    if name in ("analyze", "capture"):
        from trace_timing import api

        return getattr(api, name)
    if name == "__version__":
        from trace_timing.records import TOOL_VERSION

        return TOOL_VERSION
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
