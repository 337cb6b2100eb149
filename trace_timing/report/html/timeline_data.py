"""A run's timeline as data for templates/timeline.js: intervals in ns since the window begins.

Starts and lengths are whole nanoseconds, so the sums of a selection in the browser equal the tables
to the nanosecond.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.report.figures.kernels import short
from trace_timing.report.model import SampleDetail
from trace_timing.report.palette import CAUSE_COLOURS, COLOURS
from trace_timing.timeline.breakdown.idle_causes import CAUSES, DEFINITIONS

#: Longer names are cut down to the function's name: a kernel's template arguments can be pages.
_NAME_LENGTH = 90


def timeline_data(detail: SampleDetail) -> dict[str, Any]:
    """Intervals by kind (`tiles`, `ops`, …), and the names and colours that they index."""
    return {
        "window_ns": detail.window_ns,
        "clock": detail.clock,
        "keys": [key.label for key in detail.keys],
        "stages": [key.stage for key in detail.keys],
        "names": [_brief(name) for name in detail.names],
        "lanes": [list(lane) for lane in detail.lanes],
        "causes": list(CAUSES),
        "cause_words": [DEFINITIONS[cause] for cause in CAUSES],
        "cause_colours": [CAUSE_COLOURS[cause] for cause in CAUSES],
        "colours": dict(COLOURS),
        "tiles": {
            **_interval(detail.tile_start_ns, detail.tile_end_ns),
            "key": detail.tile_key,
            "state": detail.tile_state.astype(np.int64),
        },
        "ops": {
            **_interval(detail.op_start_ns, detail.op_end_ns),
            "key": detail.op_key,
            "lane": detail.op_lane,
            "name": detail.op_name,
            "call": detail.op_call,
        },
        "calls": {
            **_interval(detail.call_start_ns, detail.call_end_ns),
            "name": detail.call_name,
        },
        "marks": {
            **_interval(detail.mark_start_ns, detail.mark_end_ns),
            "name": detail.mark_name,
            "alloc": detail.mark_is_alloc.astype(np.int64),
        },
        "ranges": {
            **_interval(detail.range_start_ns, detail.range_end_ns),
            "key": detail.range_key,
            "depth": detail.range_depth,
        },
        "idle": {
            **_interval(detail.idle_start_ns, detail.idle_end_ns),
            "key": detail.idle_key,
            "cause": detail.idle_cause,
            "name": detail.idle_name,
        },
    }


def _brief(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else short(name, _NAME_LENGTH)


def _interval(start_ns: IntArray, end_ns: IntArray) -> dict[str, IntArray]:
    return {"start": start_ns, "length": end_ns - start_ns}
