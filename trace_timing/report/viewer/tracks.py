"""The tracks added for one run, as events of the Trace Event Format.

A run is a process of its own, with a thread for its stages, one for causes of idle time, and one
for each warning. Events are complete (`X`), metadata (`M`) or ends of a flow (`s` and `f`, from a
stage to a kernel that it launched). Times are µs, formatted from integers: a float64 cannot hold
the nanoseconds of timestamps since 1970.
Source: Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.records.findings import FigureWarning
from trace_timing.report.palette import CATAPULT_NAMES, LABELS
from trace_timing.timeline.breakdown.idle_causes import CAUSES, IdleStretches, idle_stretches
from trace_timing.timeline.build.model import RunTimeline, StageKey, State, Tiles
from trace_timing.trace.events import NONE, Trace
from trace_timing.units import NS_PER_US

Event = dict[str, Any]
#: Start and name of an op; its (pid, tid) in the file.
Op = tuple[int, str]
OpTracks = Mapping[Op, tuple[Any, Any]]

CATEGORY = "trace-timing"
#: Above real process ids.
FIRST_PID = 900_000_000
STAGES_TID, IDLE_TID, FIRST_WARNING_TID = 0, 1, 2
#: Above the ids of Kineto's own flows, which are correlation ids and count up from 1.
FIRST_FLOW = 3_000_000_000


@dataclass(frozen=True, kw_only=True)
class AnnotatedRun:
    """A run to add tracks for."""

    run: RunTimeline
    #: The trace that the run's rows index, if not that of the whole file.
    trace: Trace | None = None
    warnings: tuple[FigureWarning, ...] = ()


def track_events(trace: Trace, drawn: AnnotatedRun) -> list[Event]:
    """The events that every run gets: names of its tracks, stages, warnings."""
    run, pid = drawn.run, FIRST_PID + drawn.run.ordinal
    events = [
        _meta(pid, 0, "process_name", f"trace-timing: run {run.ordinal}, clock = {run.clock}"),
        _meta(pid, 0, "process_sort_index", pid),
        *_thread(pid, STAGES_TID, "stages (window)"),
        *_stages(pid, run, idle_stretches(trace, run)),
    ]
    if run.clock == "device":
        events += _thread(pid, IDLE_TID, "why the GPU idles (longest)")
    for tid, warning in enumerate(drawn.warnings, FIRST_WARNING_TID):
        events += _thread(pid, tid, f"warning: {warning.code}")
        events.append(_warning(pid, tid, run, warning))
    return events


def _stages(pid: int, run: RunTimeline, idle: IdleStretches) -> Iterator[Event]:
    """One event for each stretch of adjoining tiles of one key.

    Its args are busy time and idle time by cause, which add up to its length; or why the stage was
    not recorded.
    """
    first, last = _stretches(run.tiles.key)
    busy = _busy_before(run.tiles)
    causes = _idle_by_cause(run.tiles.start_ns[first], idle)
    for at, (i, j) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        key = int(run.tiles.key[i])
        of = run.keys[key] if key >= 0 else StageKey("other")
        start, end = int(run.tiles.start_ns[i]), int(run.tiles.end_ns[j])
        known: Mapping[str, Any] = {
            "busy_ns": int(busy[j + 1] - busy[i]),
            **{f"idle_{CAUSES[c]}_ns": int(causes[at, c]) for c in np.flatnonzero(causes[at])},
        }
        if key in run.unrecorded:
            known = {"not_recorded": run.unrecorded[key]}
        yield {
            **_complete(pid, STAGES_TID, of.label, start, end - start),
            "cname": CATAPULT_NAMES[of.stage],
            "args": {"stage": LABELS[of.stage], **known},
        }


def _idle_by_cause(starts: IntArray, idle: IdleStretches) -> IntArray:
    """Idle ns, a row for each stage event and a column for each cause."""
    sums = np.zeros((len(starts), len(CAUSES)), np.int64)
    row = np.searchsorted(starts, idle.start_ns, side="right") - 1
    np.add.at(sums, (row, idle.cause), idle.end_ns - idle.start_ns)
    return sums


def _stretches(keys: Any) -> tuple[IntArray, IntArray]:
    """First and last row of each stretch of equal values."""
    first: IntArray = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1) != 0)
    return first, np.append(first[1:], len(keys))[: len(first)] - 1


def _busy_before(tiles: Tiles) -> IntArray:
    """Busy time before each tile; n + 1 entries."""
    busy = np.where(tiles.state == State.BUSY, tiles.end_ns - tiles.start_ns, 0)
    return np.concatenate([[0], np.cumsum(busy)]).astype(np.int64)


def _warning(pid: int, tid: int, run: RunTimeline, warning: FigureWarning) -> Event:
    """A warning as an event over the extent of its stage, else over the whole run."""
    start, end = run.window_start_ns, run.window_end_ns
    of_stage = [i for i, key in enumerate(run.keys) if key.stage == warning.stage]
    tiles = np.flatnonzero(np.isin(run.tiles.key, of_stage))
    if len(tiles):
        start, end = int(run.tiles.start_ns[tiles[0]]), int(run.tiles.end_ns[tiles[-1]])
    args = {"evidence": warning.evidence, "remedy": warning.remedy}
    return {**_complete(pid, tid, warning.message, start, end - start), "args": args}


def idle_events(trace: Trace, run: RunTimeline) -> list[Event]:
    """Idle stretches named by cause, the longest first."""
    idle, pid = idle_stretches(trace, run), FIRST_PID + run.ordinal
    lengths = idle.end_ns - idle.start_ns
    events = []
    for i in np.argsort(-lengths, kind="stable").tolist():
        cause = CAUSES[int(idle.cause[i])]
        name = int(idle.name[i])
        label = cause if name == NONE else f"{cause}: {trace.names[name]}"
        event = _complete(pid, IDLE_TID, label, int(idle.start_ns[i]), int(lengths[i]))
        events.append(event)
    return events


@dataclass(frozen=True)
class Flow:
    """An arrow from a stage's event to one of its ops."""

    pid: int
    op_row: int
    op_start_ns: int
    #: Times of the two ends, well inside both events: viewers take an instant on a border for the
    #: event before it.
    from_ns: int
    to_ns: int
    #: Whether the op is the first of the stage's event.
    is_first: bool

    def events(self, number: int, track: tuple[Any, Any]) -> list[Event]:
        """Its two ends; `number` identifies the flow, `track` is the op's in the file."""
        common = {"cat": CATEGORY, "name": "launched in", "id": FIRST_FLOW + number}
        start = {"ph": "s", "pid": self.pid, "tid": STAGES_TID, "ts": _us(self.from_ns)}
        pid, tid = track
        end = {"ph": "f", "bp": "e", "pid": pid, "tid": tid, "ts": _us(self.to_ns)}
        return [{**start, **common}, {**end, **common}]


def flows(run: RunTimeline) -> list[Flow]:
    """Flows from each stage's event to its first op, then to its others, the longest op first.

    An op that starts outside its stage's events has none: the event at that time is another
    stage's.
    """
    first, last = _stretches(run.tiles.key)
    starts, ends = run.tiles.start_ns[first], run.tiles.end_ns[last]
    at = np.searchsorted(starts, run.ops.start_ns, side="right") - 1
    inside = at >= 0
    at = np.maximum(at, 0)
    inside &= (run.ops.start_ns < ends[at]) & (run.tiles.key[first][at] == run.ops.key)
    ops = np.flatnonzero(inside)
    _, begins = np.unique(at[ops], return_index=True)
    is_first = np.zeros(len(run.ops), np.bool_)
    is_first[ops[begins]] = True
    rank = np.lexsort((run.ops.start_ns[ops] - run.ops.end_ns[ops], ~is_first[ops]))
    to = (run.ops.start_ns + run.ops.end_ns) // 2
    origin = (starts[at] + np.minimum(to, ends[at])) // 2
    return [
        Flow(
            pid=FIRST_PID + run.ordinal,
            op_row=int(run.ops.row[i]),
            op_start_ns=int(run.ops.start_ns[i]),
            from_ns=int(origin[i]),
            to_ns=int(to[i]),
            is_first=bool(is_first[i]),
        )
        for i in ops[rank].tolist()
    ]


def encoded(events: Sequence[Event]) -> list[bytes]:
    """Each event as compact JSON."""
    return [msgspec.json.encode(event) for event in events]


def _thread(pid: int, tid: int, name: str) -> list[Event]:
    return [_meta(pid, tid, "thread_name", name), _meta(pid, tid, "thread_sort_index", tid)]


def _meta(pid: int, tid: int, name: str, value: str | int) -> Event:
    args = {"sort_index": value} if isinstance(value, int) else {"name": value}
    return {"ph": "M", "pid": pid, "tid": tid, "name": name, "ts": 0, "args": args}


def _complete(pid: int, tid: int, name: str, start_ns: int, dur_ns: int) -> Event:
    return {
        "ph": "X",
        "cat": CATEGORY,
        "pid": pid,
        "tid": tid,
        "name": name,
        "ts": _us(start_ns),
        "dur": _us(dur_ns),
    }


def _us(ns: int) -> msgspec.Raw:
    """ns as a number of µs with all its digits."""
    whole, rest = divmod(ns, NS_PER_US)
    return msgspec.Raw(f"{whole}.{rest:03d}".encode() if rest else str(whole).encode())
