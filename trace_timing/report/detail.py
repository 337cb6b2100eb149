"""Extract the compact timeline of one run, for its figure, while its trace is in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trace_timing.api_call_names import ALLOCATING, SYNCHRONIZING
from trace_timing.arrays import BoolArray, IntArray, distinct_codes
from trace_timing.report.model import Index, SampleDetail
from trace_timing.timeline.breakdown.idle_causes import idle_stretches
from trace_timing.timeline.build.intervals import NONE
from trace_timing.timeline.build.model import RunTimeline, StageRange, State
from trace_timing.timeline.build.recorded_part import recorded_keys
from trace_timing.timeline.build.streams import lanes_of
from trace_timing.timeline.rows.tables import RunKey
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import Kind, Trace


def sample_detail(trace: Trace, run: RunTimeline, key: RunKey) -> SampleDetail:
    """The data of a run's timeline figure, with times relative to its window.

    Only names in use are copied, so that keeping a detail does not keep its trace in memory: it
    takes some 20 bytes an op.
    """
    events, ops, zero = trace.events, run.ops, run.window_start_ns
    marks, is_alloc = _marks(trace, run)
    lanes, op_lane = lanes_of(ops.device, events.stream[ops.row])
    calls, op_call = _launches(run)
    idle = idle_stretches(trace, run)
    used = (events.name[ops.row], events.name[marks], events.name[calls], idle.name)
    names, (op_name, mark_name, call_name, idle_name) = _names(trace, used)
    ranges, depth = _ranges(run)
    return SampleDetail(
        run=key,
        window_ns=run.window_end_ns - zero,
        clock=run.clock,
        keys=run.keys,
        names=names,
        lanes=lanes,
        tile_start_ns=run.tiles.start_ns - zero,
        tile_end_ns=run.tiles.end_ns - zero,
        tile_key=run.tiles.key.astype(np.int32),
        tile_state=_states(run),
        op_start_ns=ops.start_ns - zero,
        op_end_ns=ops.end_ns - zero,
        op_key=ops.key.astype(np.int32),
        op_lane=op_lane.astype(np.int32),
        op_name=op_name,
        op_call=op_call,
        call_start_ns=events.start_ns[calls] - zero,
        call_end_ns=events.end_ns[calls] - zero,
        call_name=call_name,
        range_start_ns=np.array([r.start_ns for r in ranges], np.int64) - zero,
        range_end_ns=np.array([r.end_ns for r in ranges], np.int64) - zero,
        range_key=np.array([-1 if r.key is None else r.key for r in ranges], np.int32),
        range_depth=depth,
        mark_start_ns=events.start_ns[marks] - zero,
        mark_end_ns=events.end_ns[marks] - zero,
        mark_name=mark_name,
        mark_is_alloc=is_alloc,
        idle_start_ns=idle.start_ns - zero,
        idle_end_ns=idle.end_ns - zero,
        idle_key=idle.key.astype(np.int32),
        idle_cause=idle.cause.astype(np.int32),
        idle_name=idle_name,
    )


def _states(run: RunTimeline) -> npt.NDArray[np.uint8]:
    """State of each tile; UNKNOWN for an idle one whose stage was not recorded."""
    unrecorded = ~recorded_keys(run)[run.tiles.key]
    idle = run.tiles.state != State.BUSY
    return np.where(unrecorded & idle, np.uint8(State.UNKNOWN), run.tiles.state)


def _marks(trace: Trace, run: RunTimeline) -> tuple[IntArray, BoolArray]:
    """Rows of the synchronizing and allocator calls in the window; True for allocator calls."""
    calls = trace.events.rows(Kind.CALL)
    start = trace.events.start_ns[calls]
    calls = calls[(start >= run.window_start_ns) & (start < run.window_end_ns)]
    marks = calls[calls_that(trace, calls, SYNCHRONIZING | ALLOCATING)]
    return marks, calls_that(trace, marks, ALLOCATING)


def _launches(run: RunTimeline) -> tuple[IntArray, Index]:
    """Rows of the calls that launched the run's ops, by start, and the index of each op's call."""
    launch = run.ops.launch_row
    rows, first, place = np.unique(launch, return_index=True, return_inverse=True)
    known = rows != NONE
    order = np.argsort(run.ops.launch_ns[first[known]], kind="stable")
    number = np.full(len(rows), NONE, np.int32)
    number[np.flatnonzero(known)[order]] = np.arange(len(order), dtype=np.int32)
    return rows[known][order], number[place]


def _names(
    trace: Trace, used: Sequence[npt.NDArray[np.integer]]
) -> tuple[tuple[str, ...], list[Index]]:
    """The names in use, and each array as indices into them; NONE stays."""
    in_use = distinct_codes(np.concatenate([one[one != NONE] for one in used]))
    index = np.full(len(trace.names) + 1, NONE, np.int32)
    index[in_use] = np.arange(len(in_use), dtype=np.int32)
    # NONE is −1 and so picks the last entry, which belongs to no name and stays NONE.
    return tuple(trace.names[i] for i in in_use), [index[one] for one in used]


def _ranges(run: RunTimeline) -> tuple[list[StageRange], Index]:
    """Ranges of the generating thread, generate first, and how deep each one is nested."""
    ranges = [r for r in run.ranges if r.thread == run.generating_thread]
    has_generate = any(r.key is None for r in ranges)
    if not has_generate and run.generate_start_ns is not None and run.generate_end_ns is not None:
        ranges.append(
            StageRange(
                key=None,
                thread=run.generating_thread,
                start_ns=run.generate_start_ns,
                end_ns=run.generate_end_ns,
            )
        )
    ranges.sort(key=lambda r: (r.start_ns, -r.end_ns))
    depth, open_ends = np.zeros(len(ranges), np.int32), list[int]()
    for i, one in enumerate(ranges):
        while open_ends and open_ends[-1] <= one.start_ns:
            open_ends.pop()
        depth[i] = len(open_ends)
        open_ends.append(one.end_ns)
    return ranges, depth
