"""Input of the integrity checks: a trace or run with its timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.stages import Stage
from trace_timing.timeline.build.model import NOT_COUNTED, RunTimeline, StageKey, StageRange
from trace_timing.timeline.build.runs import TraceTimeline
from trace_timing.trace.events import Trace


@dataclass(frozen=True, kw_only=True)
class TraceSubject:
    """A trace and its timeline."""

    trace: Trace
    timeline: TraceTimeline


@dataclass(frozen=True, kw_only=True)
class RunSubject:
    """One run of a trace; `tokens_out` is None where no record has it."""

    trace: Trace
    timeline: TraceTimeline
    run: RunTimeline
    tokens_out: int | None = None

    @property
    def is_generate(self) -> bool:
        """Whether it is a generate() call with stages, whose steps count 1, 2, 3 …"""
        return self.is_call and self.run.generate_start_ns is not None

    @property
    def is_call(self) -> bool:
        """Whether it is one call of a model, with or without a generate range, and no server."""
        return bool(self.run.ranges) and not self.timeline.serving

    def key(self, item: StageRange) -> StageKey:
        """The stage and step of a range."""
        assert item.key is not None  # generate ranges are not among a run's
        return self.run.keys[item.key]

    def ranges(self, *stages: Stage, recorded: bool = False) -> list[StageRange]:
        """The generating thread's ranges of some stages, by begin.

        Args:
            recorded: leave out those in which recording was off.
        """
        main, unrecorded = self.run.generating_thread, self.run.unrecorded
        mine = [r for r in self.run.ranges if r.thread == main and self.key(r).stage in stages]
        return [r for r in mine if not recorded or r.key not in unrecorded]

    def steps(self, stage: Stage) -> list[int]:
        """The numbers of a stage's steps, recorded or not, ascending, each once."""
        steps = {self.key(r).step for r in self.ranges(stage)}
        return sorted(step for step in steps if step is not None and step != NOT_COUNTED)

    def ops_by_key(self) -> IntArray:
        """How many ops each of the run's keys has."""
        return np.bincount(self.run.ops.key, minlength=len(self.run.keys))


def some(names: Sequence[object], most: int = 6) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
