"""Keys of a run folded into its stages: decode[1…N−1] is one stage, `decode`."""

from __future__ import annotations

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.memoize import cached_per_object
from trace_timing.stages import Stage
from trace_timing.timeline.build.model import RunTimeline


@cached_per_object
def stages_of(run: RunTimeline) -> tuple[Stage, ...]:
    """The stages of a run, each once, in the order of its keys."""
    return tuple(dict.fromkeys(key.stage for key in run.keys))


@cached_per_object
def stage_of_key(run: RunTimeline) -> IntArray:
    """For each of the run's keys, the number of its stage in `stages_of(run)`."""
    number = {stage: i for i, stage in enumerate(stages_of(run))}
    return np.array([number[key.stage] for key in run.keys], np.int64)


def forwards(run: RunTimeline, stage: Stage) -> int:
    """How often the run was in a stage: its steps, 1 for a stage without numbers or ranges.

    By its ranges, for `keys` may hold those of a trace's other runs as well.
    """
    keys = {r.key for r in run.ranges if r.key is not None and run.keys[r.key].stage == stage}
    return max(len(keys), 1)
