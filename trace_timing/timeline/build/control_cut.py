"""A recorded run cut at the boundaries that a control's events have.

Both then have the same stretches, so control ÷ recorded compares like with like.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.stages import Stage
from trace_timing.timeline.build.metrics import sums
from trace_timing.timeline.build.model import RunTimeline, outside_key
from trace_timing.trace.events import NONE

#: A stage and its step, as a control's segments name them.
SegmentKey = tuple[Stage, int | None]


def segments_of(run: RunTimeline) -> dict[SegmentKey, int]:
    """Ns of each stage and step between the boundaries at which a control records events."""
    total = segment_ns(run)
    there = {r.key for r in run.ranges if r.key is not None} | {outside_key(run)}
    keys = [k for k in range(len(run.keys)) if total[k] or k in there]
    return {(run.keys[k].stage, run.keys[k].step): int(total[k]) for k in keys}


def segment_ns(run: RunTimeline) -> IntArray:
    """`segments_of` as an array over the run's keys.

    An event recorded at a boundary is reached once everything launched before it has ended; the
    stretch from one to the next belongs to the stage entered at the first.
    """
    other = outside_key(run)
    begin = run.window_start_ns if run.generate_start_ns is None else run.generate_start_ns
    end = run.window_end_ns if run.generate_end_ns is None else run.generate_end_ns
    inside = (run.host.boundary_ns > begin) & (run.host.boundary_ns < end)
    times = np.concatenate([[begin], run.host.boundary_ns[inside], [end]]).astype(np.int64)
    keys = run.host.at(times[:-1])
    keys = np.where(keys == NONE, other, keys)
    lengths = np.diff(_reached(run, times))
    return sums(keys, lengths, len(run.keys))


def _reached(run: RunTimeline, times: IntArray) -> IntArray:
    """When the device would reach events recorded at these host times."""
    order = np.argsort(run.ops.launch_ns, kind="stable")
    never = np.iinfo(np.int64).min
    done = np.maximum.accumulate(np.concatenate([[never], run.ops.end_ns[order]]))
    launched = np.searchsorted(run.ops.launch_ns[order], times, side="left")
    reached: IntArray = np.maximum(times, done[launched])
    return reached


def by_stage(segments: Mapping[SegmentKey, int]) -> dict[Stage, int]:
    """Segments summed over their steps."""
    stages: dict[Stage, int] = {}
    for (stage, _), ns in segments.items():
        stages[stage] = stages.get(stage, 0) + ns
    return stages
