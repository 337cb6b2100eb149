"""Where stage boundaries go in a profiled run: named ranges in the profiler's record."""

from __future__ import annotations

from typing import Any, Literal

from torch.profiler import record_function

from trace_timing.records import Stage, range_name


class ProfilerSink:
    """Opens a `record_function` range at each entry and closes it at the exit.

    Nested like the calls that it follows, so a stack is all the state there is.
    """

    def __init__(self) -> None:
        self._open: list[Any] = []

    def enter(self, stage: Stage | Literal["generate"], step: int | None = None) -> None:
        """Open the range of a stage."""
        scope = record_function(range_name(stage, step))
        scope.__enter__()
        self._open.append(scope)

    def exit(self) -> None:
        """Close the innermost open range."""
        self._open.pop().__exit__(None, None, None)

    def close(self) -> None:
        """Close what an exception left open: a range that outlives its session crashes torch."""
        while self._open:
            self.exit()
