"""Why the device idles: every idle instant of a run gets one cause, so causes sum to the stage.

- Work queued, none running: `launch_latency` where the device had run out of work, else
  `device_gap`.
- Queue empty: what the generating thread does at that instant, since nothing can run until it
  launches again. It is inside an API call (`sync`, `alloc`, `copy`, `launch`, `api`) or in none
  (`host`: Python, the framework, the profiler's own work).
- After the run's last op: `tail`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trace_timing.arrays import BoolArray, IntArray, number_codes
from trace_timing.schema.breakdown import IdleCause
from trace_timing.stages import Stage
from trace_timing.timeline.breakdown.api_calls import CALL_CLASSES, Calls, calls_of_run
from trace_timing.timeline.breakdown.grouping import stage_of_key, stages_of
from trace_timing.timeline.breakdown.launch_queue import ran_dry
from trace_timing.timeline.build.intervals import NONE, Intervals, cut
from trace_timing.timeline.build.metrics import sums
from trace_timing.timeline.build.model import RunTimeline, State, outside_key
from trace_timing.trace.events import Trace

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


@dataclass(frozen=True)
class _Pieces:
    """n pieces of idle tiles in time order, each of one cause and one call."""

    start_ns: IntArray
    end_ns: IntArray
    #: Number of the tile that a piece is of.
    tile: IntArray
    #: Index into CAUSES.
    cause: IntArray
    #: Name of the API call, an index into Trace.names; NONE where the cause is no call.
    name: IntArray

    def begins(self, group: IntArray) -> BoolArray:
        """Where a stretch begins: a piece of another group, cause or call than the one before it,
        or with a gap before it."""
        new = np.ones(len(self.tile), np.bool_)
        what = (group * len(CAUSES) + self.cause) * (int(self.name.max(initial=NONE)) + 2)
        what += self.name
        new[1:] = (self.start_ns[1:] != self.end_ns[:-1]) | (what[1:] != what[:-1])
        return new


def idle_stretches(trace: Trace, run: RunTimeline) -> IdleStretches:
    """When the device idled and why: the stretches whose sums are the table `idle`.

    None of a run timed by the host's clock, and none where recording was off.
    """
    parts = [np.empty((0, 5), np.int64)]
    for pieces in _pieces(trace, run):
        key = run.tiles.key[pieces.tile].astype(np.int64)
        first = np.flatnonzero(pieces.begins(key))
        last = np.append(first[1:], len(key))[: len(first)] - 1
        ends = pieces.end_ns[last]
        columns = (pieces.start_ns[first], ends, key[first], pieces.cause[first])
        parts.append(np.stack([*columns, pieces.name[first]], axis=1))
    rows = np.concatenate(parts)
    rows = rows[~np.isin(rows[:, 2], list(run.unrecorded))]
    return IdleStretches(*rows[np.argsort(rows[:, 0], kind="stable")].T)


def idle_causes(trace: Trace, run: RunTimeline) -> tuple[IdleCause, ...]:
    """Causes of the idle time of each stage; those of a stage sum to its idle_ns, exactly.

    Synchronizing and allocator calls are listed even where the device never idled in them: their
    count is evidence of its own. A run timed by the host's clock has no idle time to explain.
    """
    if run.clock == "host":
        return ()
    stage_of = stage_of_key(run)
    idle: dict[tuple[int, int, int], tuple[int, int]] = {}
    for pieces in _pieces(trace, run):
        stage = stage_of[run.tiles.key[pieces.tile]]
        length = pieces.end_ns - pieces.start_ns
        idle |= _summed(stage, pieces.cause, pieces.name, pieces.begins(stage), length)
    return _rows(trace, idle, _called(run, calls_of_run(trace, run)), stages_of(run))


def _pieces(trace: Trace, run: RunTimeline) -> tuple[_Pieces, ...]:
    """Idle pieces with work queued, and those with an empty queue: their causes are disjoint."""
    if run.clock == "host":
        return ()
    return _queued_pieces(run), _empty_pieces(run, calls_of_run(trace, run))


def _queued_pieces(run: RunTimeline) -> _Pieces:
    """Idle tiles with work queued, each a piece."""
    tiles = run.tiles
    rows = np.flatnonzero(tiles.state == State.QUEUED)
    late, held = CAUSES.index("launch_latency"), CAUSES.index("device_gap")
    cause = np.where(ran_dry(tiles)[rows], late, held)
    return _Pieces(tiles.start_ns[rows], tiles.end_ns[rows], rows, cause, np.full(len(rows), NONE))


def _empty_pieces(run: RunTimeline, calls: Calls) -> _Pieces:
    """Idle tiles with an empty queue, cut where API calls begin and end."""
    tiles = run.tiles
    rows = np.flatnonzero(tiles.state == State.EMPTY)
    pieces = cut(Intervals(tiles.start_ns[rows], tiles.end_ns[rows], rows), calls.intervals)
    tile, in_call = rows[pieces.of], pieces.by != NONE
    cause = np.where(in_call, np.append(_CODE_OF_CLASS[calls.call_class], 0)[pieces.by], _HOST)
    name = np.where(in_call, np.append(calls.name, NONE)[pieces.by], NONE)
    busy = np.flatnonzero(tiles.state == State.BUSY)
    if len(busy):
        tail = tile > busy[-1]
        cause[tail], name[tail] = CAUSES.index("tail"), NONE
    return _Pieces(pieces.start_ns, pieces.start_ns + pieces.dur_ns, tile, cause, name)


_HOST = CAUSES.index("host")
_CODE_OF_CLASS = np.array([CAUSES.index(name) for name in CALL_CLASSES], np.int64)


def _summed(
    stage: IntArray, cause: IntArray, name: IntArray, counted: BoolArray, dur_ns: IntArray
) -> dict[tuple[int, int, int], tuple[int, int]]:
    """(stage, cause, name) -> (how many are counted, summed ns)."""
    # One integer for the three: np.unique on rows is ten times slower.
    names = int(name.max(initial=NONE)) + 2
    code = (stage * len(CAUSES) + cause) * names + name + 1
    used, place = number_codes(code)
    number, total = np.bincount(place[counted], minlength=len(used)), sums(place, dur_ns, len(used))
    out = {}
    for row, value in enumerate(used.tolist()):
        rest, text = divmod(value, names)
        key = (*divmod(rest, len(CAUSES)), text - 1)
        out[key] = (int(number[row]), int(total[row]))
    return out


def _called(run: RunTimeline, calls: Calls) -> dict[tuple[int, int, int], tuple[int, int]]:
    """(stage the host is in, cause, name) -> (calls begun, ns inside them)."""
    key = run.host.at_each(calls.start_ns)
    if (key == NONE).any():
        key = np.where(key == NONE, outside_key(run), key)
    stage = stage_of_key(run)[key]
    return _summed(
        stage,
        _CODE_OF_CLASS[calls.call_class],
        calls.name.astype(np.int64),
        np.ones(len(stage), np.bool_),
        calls.end_ns - calls.start_ns,
    )


#: Calls listed for their count alone, idle or not.
_ALWAYS_LISTED = (CAUSES.index("sync"), CAUSES.index("alloc"))


def _rows(
    trace: Trace,
    idle: dict[tuple[int, int, int], tuple[int, int]],
    called: dict[tuple[int, int, int], tuple[int, int]],
    stages: tuple[Stage, ...],
) -> tuple[IdleCause, ...]:
    """Rows by stage and cause, with calls listed that caused no idle time."""
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
