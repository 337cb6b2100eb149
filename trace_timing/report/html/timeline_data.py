"""A run's timeline as the page's viewer takes it: rows of intervals, in ns since the window begins.

templates/timeline.js draws them. Starts and lengths are whole nanoseconds, so what a selection sums
in the browser equals the tables to the nanosecond.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.report.figures.kernels import short
from trace_timing.report.model import SampleDetail
from trace_timing.report.palette import CAUSE_COLOURS, COLOURS
from trace_timing.timeline.breakdown.idle_causes import CAUSES, DEFINITIONS

#: Longer names are shortened to the function's own: a page would hold arguments by the thousand.
_NAME_LENGTH = 90


def timeline_data(detail: SampleDetail) -> dict[str, Any]:
    """Rows of intervals by prefix, and what their numbers stand for."""
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
