"""Figures of a run in which not every step was recorded: of its recorded steps, and estimates.

Sums over a stage with unrecorded steps cover its recorded steps alone, so they are given per
recorded step. The sum over all steps is estimated by linear interpolation between recorded ones,
since a step's work changes with the length of the KV cache alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from trace_timing.arrays import BoolArray, FloatArray, IntArray
from trace_timing.memoize import cached_per_object
from trace_timing.stages import NUMBERED_STAGES, Stage
from trace_timing.timeline.build.model import NOT_COUNTED, RunTimeline, StageKey

#: In `recorded_part`, the stage of everything that is not of the recorded part; in no table.
NOT_RECORDED = cast("Stage", "not_recorded")


def recorded_keys(run: RunTimeline) -> BoolArray:
    """Whether each of the run's keys has figures: all true where all was recorded."""
    known = np.ones(len(run.keys), np.bool_)
    known[list(run.unrecorded)] = False
    return known


def partly_recorded(run: RunTimeline) -> frozenset[Stage]:
    """Stages of the run of which a part was not recorded."""
    return frozenset(run.keys[key].stage for key in run.unrecorded)


def recorded_part(run: RunTimeline) -> RunTimeline:
    """The run with NOT_RECORDED as the stage of what is not of its recorded part."""
    return _recorded_part(run) if run.unrecorded else run


@cached_per_object
def _recorded_part(run: RunTimeline) -> RunTimeline:
    keys = tuple(
        StageKey(NOT_RECORDED, key.step) if number in run.unrecorded else key
        for number, key in enumerate(run.keys)
    )
    return replace(run, keys=keys, unrecorded={})


@dataclass(frozen=True, kw_only=True)
class RecordedSteps:
    """A numbered stage of a run: its steps, and which of them were recorded."""

    stage: Stage
    #: All step numbers, ascending; n.
    steps: IntArray
    #: Their keys; n.
    keys: IntArray
    recorded: BoolArray

    def per_step(self, values: IntArray) -> float | None:
        """Mean of the recorded steps' values; None where none was recorded.

        Args:
            values: one a key of the run.
        """
        mine = values[self.keys[self.recorded]]
        return float(mine.sum()) / len(mine) if len(mine) else None

    def of_each(self, values: IntArray) -> FloatArray | None:
        """The value of every step, linearly interpolated where a step was not recorded.

        Before the first and after the last recorded step, that one's value; None without any.
        """
        if not self.recorded.any():
            return None
        known = self.steps[self.recorded]
        return np.interp(self.steps, known, values[self.keys[self.recorded]].astype(np.float64))

    def estimate(self, values: IntArray) -> float | None:
        """The estimated sum over all steps; None where none was recorded."""
        each = self.of_each(values)
        return None if each is None else float(each.sum())


def recorded_steps(run: RunTimeline, stage: Stage) -> RecordedSteps:
    """The steps of a stage that the run has ranges of."""
    mine = {r.key for r in run.ranges if r.key is not None and run.keys[r.key].stage == stage}
    numbered = {key: run.keys[key].step for key in mine}
    steps = sorted((step, key) for key, step in numbered.items() if step is not None and step >= 0)
    keys = np.array([key for _, key in steps], np.int64)
    return RecordedSteps(
        stage=stage,
        steps=np.array([step for step, _ in steps], np.int64),
        keys=keys,
        recorded=recorded_keys(run)[keys],
    )


def estimate_of_stage(run: RunTimeline, stage: Stage, values: IntArray) -> float | None:
    """Estimate a figure over all of a partly recorded stage.

    In a stage without step numbers (draft), each unrecorded range counts as a recorded one. `other`
    stays as recorded, for nothing is launched between the forwards.

    Args:
        values: one a key of the run.
    """
    if stage in NUMBERED_STAGES:
        return recorded_steps(run, stage).estimate(values)
    known = run.keys.index(StageKey(stage)) if StageKey(stage) in run.keys else None
    recorded = 0.0 if known is None else float(values[known])
    if stage == "other":
        return recorded
    in_part = sum(r.key == known for r in run.ranges)
    in_gaps = sum(
        run.keys[r.key] == StageKey(stage, NOT_COUNTED) for r in run.ranges if r.key is not None
    )
    return recorded * (in_part + in_gaps) / in_part if in_part else None
