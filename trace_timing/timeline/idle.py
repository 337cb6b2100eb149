"""Why the device idles: every idle instant of a run gets one cause, so causes sum to the stage.

Work queued and none running: the op on its way (`launch_latency`). Queue empty: what the
generating thread does at that instant, since nothing can run until it launches again: it is inside
an API call (`sync`, `alloc`, `copy`, `launch`, `api`) or in none (`host`: Python, the framework,
the profiler's own work). After the run's last op no launch follows any more: `tail`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trace_timing.records import Stage
from trace_timing.timeline.calls import CALL_CLASSES, Calls, calls_of_thread
from trace_timing.timeline.grouping import stage_of_key, stages_of
from trace_timing.timeline.intervals import NONE, Intervals, Pieces, cut
from trace_timing.timeline.layout import RunTimeline, State
from trace_timing.timeline.queue import ran_dry
from trace_timing.trace.events import Trace
from trace_timing.units import IntArray, distinct_codes

Cause = Literal[
    "host", "launch", "launch_latency", "device_gap", "sync", "copy", "alloc", "api", "tail"
]
CAUSES: tuple[Cause, ...] = Cause.__args__  # type: ignore[attr-defined]

DEFINITIONS: dict[Cause, str] = {
    "host": "Queue empty, the generating thread in no API call: Python and the framework.",
    "launch": "Queue empty, the generating thread inside a launch call.",
    "launch_latency": "Work launched onto an idle device and not started yet.",
    "device_gap": "Work launched while the device was busy, and not started: its own gap.",
    "sync": "Queue empty, the generating thread inside a synchronizing call.",
    "copy": "Queue empty, the generating thread inside a copy or fill call.",
    "alloc": "Queue empty, the generating thread inside cudaMalloc, cudaFree or kin.",
    "api": "Queue empty, the generating thread inside any other API call.",
    "tail": "After the run's last op ended.",
}


@dataclass(frozen=True, kw_only=True)
class IdleCause:
    """A row of the table `idle`: one cause, and one call where the cause is a call."""

    stage: Stage
    cause: Cause
    #: Name of the API call; None where the cause is none.
    call: str | None
    #: Calls of that name that begin while the host is in the stage; idle intervals for the rest.
    count: int
    #: Host time inside those calls, idle or not; None where the cause is no call.
    call_ns: int | None
    idle_ns: int


@dataclass(frozen=True)
class IdleStretches:
    """n idle stretches of a run in time order, each of one stage, one cause and one call."""

    start_ns: IntArray
    end_ns: IntArray
    #: Index into the run's keys.
    key: IntArray
    #: Index into CAUSES.
    cause: IntArray
    #: Name of the API call, an index into Trace.names; NONE where the cause is no call.
    name: IntArray


def idle_stretches(trace: Trace, run: RunTimeline) -> IdleStretches:
    """When the device idled and why: the stretches whose sums are the table `idle`.

    None of a run timed by the host's clock.
    """
    if run.clock == "host":
        return IdleStretches(*(np.empty(0, np.int64) for _ in range(5)))
    calls = calls_of_thread(trace, run.generating_thread, run.window_start_ns, run.window_end_ns)
    pieces = _idle_pieces(run, calls)
    cause, name = _cause_of(run, calls, pieces), np.full(len(pieces.of), NONE, np.int64)
    inside = np.isin(cause, _CODE_OF_CLASS)
    name[inside] = calls.name[pieces.by[inside]]
    key = run.tiles.key[pieces.of].astype(np.int64)
    first = np.flatnonzero(_begins_interval(pieces, np.stack([key, cause, name])))
    last = np.append(first[1:], len(key))[: len(first)] - 1
    end = pieces.start_ns + pieces.dur_ns
    return IdleStretches(pieces.start_ns[first], end[last], key[first], cause[first], name[first])


def idle_causes(trace: Trace, run: RunTimeline) -> tuple[IdleCause, ...]:
    """Causes of the idle time of each stage; those of a stage sum to its idle_ns, exactly.

    Synchronizing and allocator calls are listed even where the device never idled in them: their
    count is evidence of its own. A run timed by the host's clock has no idle time to explain.
    """
    if run.clock == "host":
        return ()
    calls = calls_of_thread(trace, run.generating_thread, run.window_start_ns, run.window_end_ns)
    pieces = _idle_pieces(run, calls)
    cause = _cause_of(run, calls, pieces)
    name = np.full(len(cause), NONE, np.int64)
    inside = np.isin(cause, _CODE_OF_CLASS)
    name[inside] = calls.name[pieces.by[inside]]
    stage = stage_of_key(run)[run.tiles.key[pieces.of]]
    new = _begins_interval(pieces, np.stack([stage, cause, name]))
    idle = _summed(stage, cause, name, new, pieces.dur_ns)
    return _rows(trace, idle, _called(run, calls), stages_of(run))


def _idle_pieces(run: RunTimeline, calls: Calls) -> Pieces:
    tiles = run.tiles
    idle = np.flatnonzero(tiles.state != State.BUSY)
    pieces = cut(Intervals(tiles.start_ns[idle], tiles.end_ns[idle], idle), calls.intervals)
    return Pieces(pieces.start_ns, pieces.dur_ns, idle[pieces.of], pieces.by)


_CODE_OF_CLASS = np.array([CAUSES.index(name) for name in CALL_CLASSES], np.int64)


def _cause_of(run: RunTimeline, calls: Calls, pieces: Pieces) -> IntArray:
    cause = np.full(len(pieces.of), CAUSES.index("host"), np.int64)
    in_call = pieces.by != NONE
    cause[in_call] = _CODE_OF_CLASS[calls.call_class[pieces.by[in_call]]]
    queued = run.tiles.state[pieces.of] == State.QUEUED
    late = ran_dry(run.tiles)[pieces.of]
    cause[queued & late] = CAUSES.index("launch_latency")
    cause[queued & ~late] = CAUSES.index("device_gap")
    busy_until = run.tiles.end_ns[run.tiles.state == State.BUSY]
    if len(busy_until):
        tail = ~queued & (pieces.start_ns >= int(busy_until[-1]))
        cause[tail] = CAUSES.index("tail")
    return cause


def _begins_interval(pieces: Pieces, what: IntArray) -> IntArray:
    """1 where a piece does not continue the one before it with the same cause, else 0."""
    new = np.ones(len(pieces.of), np.int64)
    joined = pieces.start_ns[1:] == (pieces.start_ns + pieces.dur_ns)[:-1]
    new[1:] -= joined & (what[:, 1:] == what[:, :-1]).all(axis=0)
    return new


def _summed(
    stage: IntArray, cause: IntArray, name: IntArray, count: IntArray, dur_ns: IntArray
) -> dict[tuple[int, int, int], tuple[int, int]]:
    """(stage, cause, name) -> (summed count, summed ns)."""
    # One integer for the three: np.unique on rows is ten times slower.
    names = int(name.max(initial=NONE)) + 2
    code = (stage * len(CAUSES) + cause) * names + name + 1
    codes = distinct_codes(code)
    sums = np.zeros((2, int(codes.max(initial=-1)) + 1), np.int64)
    np.add.at(sums[0], code, count)
    np.add.at(sums[1], code, dur_ns)
    out = {}
    for value, number, total in zip(codes.tolist(), *sums[:, codes].tolist(), strict=True):
        rest, text = divmod(value, names)
        out[(*divmod(rest, len(CAUSES)), text - 1)] = (number, total)
    return out


def _called(run: RunTimeline, calls: Calls) -> dict[tuple[int, int, int], tuple[int, int]]:
    """(stage the host is in, cause, name) -> (calls begun, ns inside them)."""
    stages = stages_of(run)
    key = run.host.at(calls.start_ns)
    # As tiling has it: outside every stage range is `other`, or nothing that has a name.
    outside = "other" if run.ranges else "unattributed"
    code = stages.index(outside) if outside in stages else len(stages)
    stage = np.where(key == NONE, code, stage_of_key(run)[np.maximum(key, 0)])
    cause = _CODE_OF_CLASS[calls.call_class]
    inside = stage < len(stages)
    return _summed(
        stage[inside],
        cause[inside],
        calls.name[inside].astype(np.int64),
        np.ones(int(inside.sum()), np.int64),
        (calls.end_ns - calls.start_ns)[inside],
    )


#: Calls listed for their count alone, idle or not.
_ALWAYS_LISTED = (CAUSES.index("sync"), CAUSES.index("alloc"))


def _rows(
    trace: Trace,
    idle: dict[tuple[int, int, int], tuple[int, int]],
    called: dict[tuple[int, int, int], tuple[int, int]],
    stages: tuple[Stage, ...],
) -> tuple[IdleCause, ...]:
    listed = {key for key in called if key[1] in _ALWAYS_LISTED}
    rows = []
    for stage, cause, name in sorted(idle.keys() | listed):
        pieces, idle_ns = idle.get((stage, cause, name), (0, 0))
        count, call_ns = called.get((stage, cause, name), (0, 0))
        rows.append(
            IdleCause(
                stage=stages[stage],
                cause=CAUSES[cause],
                call=None if name == NONE else trace.names[name],
                count=pieces if name == NONE else count,
                call_ns=None if name == NONE else call_ns,
                idle_ns=idle_ns,
            )
        )
    return tuple(rows)
