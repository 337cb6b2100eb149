"""Traces of runs in which recording was switched off and on again."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tests.timeline.building import TraceBuilder
from trace_timing.records.findings import CheckResult
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.timeline.build.runs import TraceTimeline, lay_out
from trace_timing.timeline.rows.checks import run_checks, trace_checks
from trace_timing.timeline.rows.tables import (
    RunKey,
    device_columns,
    kernel_times,
    stage_columns,
    step_columns,
)
from trace_timing.trace.events import Trace

KEY = RunKey("a", 0, 0)


def six_steps() -> TraceBuilder:
    """Seven tokens: steps 1 and 6 recorded, 2 to 4 not, 5 the guard. 720 ns in all.

    Prefill and sampling[0] 0 … 110, then 100 ns a step: 90 of decode, 10 of sampling.
    """
    built = TraceBuilder().range("generate", 0, 720).range("prefill", 0, 100)
    built.range("sampling[0]", 100, 110)
    built.range("recording_off", 210, 510).range("recording_guard", 510, 610)
    for step in range(1, 7):
        begin = 10 + 100 * step
        built.range(f"decode[{step}]", begin, begin + 90)
        built.range(f"sampling[{step}]", begin + 90, begin + 100)
    return built.op(10, 60, launch=5)


class Rows:
    """The rows of a trace's only run, and what the checks say of them."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.timeline: TraceTimeline = lay_out(trace)
        (self.run,) = self.timeline.runs
        run: RunTimeline = self.run
        self.stage_table = stage_columns(trace, self.timeline, run, KEY).arrow()
        self.step_table = step_columns(trace, self.timeline, run, KEY).arrow()
        self.device_table = device_columns(run, KEY).arrow()
        self.kernels = kernel_times(trace, run)

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """All checks of the run and the trace."""
        of_run = run_checks(self.run, self.stage_table, self.device_table, self.step_table)
        return (*of_run, *trace_checks(self.trace, self.stage_table))

    def steps(self, *names: str) -> list[tuple[Any, ...]]:
        """These columns of the table `steps`, a tuple a step."""
        return _rows(self.step_table, names)

    def stage(self, stage: str) -> dict[str, Any]:
        """The row of a stage."""
        (row,) = [r for r in self.stage_table.to_pylist() if r["stage"] == stage]
        return dict(row)


def _rows(table: pa.Table, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
