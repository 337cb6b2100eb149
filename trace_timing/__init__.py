"""Stage latencies of multimodal generate() calls, read from the GPU kernel timeline.

Record a loop of your own, with torch and transformers (`pip install 'trace-timing[capture]'`):

    import trace_timing

    with trace_timing.capture("traces/", model) as session:
        output = session.generate("sample 1", meta={"tier": "high"}, **inputs)

Analyse traces, on any machine:

    result = trace_timing.analyze("traces/")
    result.samples           # a row a sample: T_vision_total_ms, T_LLM_prefill_ms, …
    result.steps             # a row a decode step
    result.figures.split()   # the report's figures, as plotly figures
    result                   # in a notebook: tiles, table, warnings

`help(trace_timing.analyze)`, `help(trace_timing.capture)` and `help(trace_timing.Analysis)` have
the details. The same on the command line: `trace-timing --help`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

__all__ = ["Analysis", "__version__", "analyze", "capture", "timed"]

if TYPE_CHECKING:
    from collections.abc import Callable

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
_NEEDS_TORCH = "trace_timing.api.capture."


def __getattr__(name: str) -> object:
    # Lazy, so that `import trace_timing` costs nothing and analysis never imports torch.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    if module.startswith(_NEEDS_TORCH):
        from trace_timing.api.capture.requirements import missing_package

        # `help()` and `import *` of an analysis machine must not fail: the call does.
        if missing := missing_package():
            return _refusing(name, missing)
    return getattr(import_module(module), attribute)


def _refusing(name: str, package: str) -> Callable[..., NoReturn]:
    """A function that raises, in place of one whose package is missing."""
    from trace_timing.errors import needs_extra

    def refuse(*_: object, **__: object) -> NoReturn:
        raise needs_extra(f"trace_timing.{name}", package, "capture")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Needs {package}: pip install 'trace-timing[capture]'."
    return refuse


def __dir__() -> list[str]:
    return sorted(__all__)
