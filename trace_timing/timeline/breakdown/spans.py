"""First and last instant of each stage on the clock that all ranks of a host share."""

from __future__ import annotations

import numpy as np

from trace_timing.schema.breakdown import Span
from trace_timing.timeline.breakdown.grouping import stage_of_key, stages_of
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.trace.events import Trace

#: Timestamps past this many ns (2001) count from 1970; from a machine's start they are far less.
_SINCE_1970_NS = 10**18


def spans(trace: Trace, run: RunTimeline) -> tuple[Span, ...]:
    """Begin and end, since 1970, of each stage with time in the run; empty where not recorded.

    The origin is Kineto's baseTimeNanoseconds, or 1970 in the traces from before there was one.
    """
    origin = trace.info.base_time_ns
    if origin is None and run.window_start_ns < _SINCE_1970_NS:
        return ()
    tiles, stage = run.tiles, stage_of_key(run)[run.tiles.key]
    rows = []
    for code, name in enumerate(stages_of(run)):
        own = np.flatnonzero(stage == code)
        if len(own):
            rows.append(
                Span(
                    stage=name,
                    begin_unix_ns=int(tiles.start_ns[own[0]]) + (origin or 0),
                    end_unix_ns=int(tiles.end_ns[own[-1]]) + (origin or 0),
                )
            )
    return tuple(rows)
