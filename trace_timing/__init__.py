"""Stage latencies of multimodal generate() calls, read from the GPU kernel timeline."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["Analysis", "__version__", "analyze", "capture", "timed"]

if TYPE_CHECKING:
    from trace_timing.api.analysis.analyze import analyze
    from trace_timing.api.analysis.result import Analysis
    from trace_timing.api.capture.capture import capture
    from trace_timing.api.capture.timed import timed
    from trace_timing.records.encoding import TOOL_VERSION as __version__

_HOME = {
    "Analysis": ("trace_timing.api.analysis.result", "Analysis"),
    "analyze": ("trace_timing.api.analysis.analyze", "analyze"),
    "capture": ("trace_timing.api.capture.capture", "capture"),
    "timed": ("trace_timing.api.capture.timed", "timed"),
    "__version__": ("trace_timing.records.encoding", "TOOL_VERSION"),
}


def __getattr__(name: str) -> object:
    # Lazy, so that `import trace_timing` costs nothing and analysis never imports torch.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
