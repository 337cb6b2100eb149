"""Find the host process of each event in a merged trace, and split the trace by process.

Kineto writes one file a process, with the device's number as pid of device events. Tools that merge
files rewrite the numbers: sglang's ProfileMerger puts the rank before each ("[TP01] 4243",
"[TP01] 0"), TraceLens's TraceFuse adds the rank times a power of ten to these and to correlation
ids. Others leave them, so that two processes have the same correlation ids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trace_timing.api_call_names import LAUNCHING
from trace_timing.arrays import BoolArray, IntArray, distinct_codes
from trace_timing.errors import TraceError
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import GPU_OP_KINDS, NONE, Events, Kind, Trace, absent, joins

#: Instead of a process's number: more than one is possible.
_SEVERAL = -2
_DIGITS = "0123456789"
#: Largest number in a process's name that is taken as such.
_MOST_DIGITS = 18


@dataclass(frozen=True)
class DeviceTracks:
    """The pids of device events, where they are not just the device's number.

    `code` has one entry for each event: an index into `names`, NONE for host events and where the
    pid is the device's number.
    """

    code: IntArray
    names: tuple[str, ...]


def label_of(pid: str) -> str:
    """The label before a process's number: "[TP01]" of "[TP01] 4243"; empty without one."""
    return pid.rstrip(_DIGITS).removesuffix("-").strip() if _is_numbered(pid) else ""


def _is_numbered(pid: str) -> bool:
    return pid[-1:] in _DIGITS and bool(pid)


def tells_process(pid: int | str, device: int) -> bool:
    """Whether a device event's pid is more than its device's number."""
    return pid != device and pid != str(device) and _is_numbered(str(pid))


def _group(pid: str) -> str:
    """The label of a process, or its whole name if that has no number; else empty."""
    return label_of(pid) or ("" if _is_numbered(pid) else pid)


def tell_processes(
    events: Events, threads: Sequence[tuple[str, str]], tracks: DeviceTracks | None, source: str
) -> tuple[Events, tuple[str, ...]]:
    """Find the host process of every event.

    A GPU op belongs to the process with the label of its track; without a label, or if several have
    it, to the process that launched it, if correlation ids are unambiguous. An op without a launch
    belongs to the process that launched all other ops of its track.

    Args:
        tracks: None if unknown.
    Returns:
        The events with `process` filled in, and the pids that it indexes, in order of rank; for a
        trace of one process the unchanged events, and no pid.
    Raises:
        TraceError: the process of an op cannot be determined.
    """
    host = events.rows(Kind.RANGE, Kind.CALL)
    used = {threads[code][0] for code in distinct_codes(events.thread[host])}
    if len(used) <= 1 and (tracks is None or not _shared_device(events, tracks)):
        return events, ()
    pids = tuple(sorted(used | _without_host(used, tracks), key=_in_order))
    if len(pids) <= 1:
        raise _ambiguous(
            source, events, "processes share a device and the file names one alone", NONE
        )
    process = _of_threads(events, threads, pids)
    device = np.flatnonzero(events.thread == NONE)
    process[device] = _of_device_events(events, device, process, tracks, pids, source)
    return replace(events, process=process), pids


def _shared_device(events: Events, tracks: DeviceTracks) -> bool:
    """Whether one device's ops are on tracks of different names, and so of several processes."""
    rows = events.rows(*GPU_OP_KINDS)
    code, device = tracks.code[rows], events.device[rows].astype(np.int64)
    if not len(rows) or int(code.max()) == NONE:
        return False
    labels = {label_of(tracks.names[c]) for c in distinct_codes(code[code != NONE])}
    pairs = np.unique(device * (len(tracks.names) + 1) + code)
    return len(labels) > 1 or len(pairs) > len(np.unique(device))


def _without_host(used: set[str], tracks: DeviceTracks | None) -> set[str]:
    """Labels of device tracks without a host process: ranks with only device events."""
    known = {_group(pid) for pid in used}
    names = tracks.names if tracks else ()
    return {label for name in names if (label := label_of(name)) and label not in known}


def _in_order(pid: str) -> list[tuple[int, int | str]]:
    """Sort key by the values of numbers in the text, so that rank 10 comes after rank 9."""
    parts = [part for part in re.split(r"(\d+)", pid) if part]
    return [(0, int(p)) if p.isdecimal() and len(p) <= _MOST_DIGITS else (1, p) for p in parts]


def _of_threads(
    events: Events, threads: Sequence[tuple[str, str]], pids: Sequence[str]
) -> npt.NDArray[np.int32]:
    """Process of each host event by its pid, else by its label."""
    by_label: dict[str, list[int]] = {}
    for number, pid in enumerate(pids):
        by_label.setdefault(_group(pid), []).append(number)
    known = {pid: number for number, pid in enumerate(pids)}
    found = np.full(len(threads) + 1, NONE, np.int32)  # the last entry is where NONE (−1) looks
    for code, (pid, _) in enumerate(threads):
        same = by_label.get(label_of(pid), []) if label_of(pid) else []
        found[code] = known.get(pid, same[0] if len(same) == 1 else NONE)
    return found[events.thread]


def _of_device_events(
    events: Events,
    rows: IntArray,
    process: npt.NDArray[np.int32],
    tracks: DeviceTracks | None,
    pids: Sequence[str],
    source: str,
) -> npt.NDArray[np.int32]:
    """Process of each device event, by track, launch, or the track's other ops."""
    track = tracks.code[rows] if tracks else np.full(len(rows), NONE, np.int64)
    allowed = _allowed(tracks.names if tracks else (), pids)
    ids = _launch_ids(events, process, len(pids))
    owner = np.full(len(rows), NONE, np.int32)
    for some in np.unique(allowed, axis=0):
        mine = (allowed[track] == some).all(axis=1)
        numbers = np.flatnonzero(some)
        owner[mine] = _by_launch(events.correlation[rows[mine]], ids, numbers)
    several = np.flatnonzero(owner == _SEVERAL)
    if len(several):
        why = f"more than one of the processes {', '.join(pids[:4])} count calls with such ids"
        raise _ambiguous(source, events, why, int(rows[several[0]]))
    owner = _by_track(owner, track, events.device[rows])
    unknown = np.flatnonzero((owner == NONE) & (events.kind[rows] != Kind.SYNC))
    if len(unknown):
        why = "no process has a call with that id"
        raise _ambiguous(source, events, why, int(rows[unknown[0]]))
    return owner


def _allowed(names: Sequence[str], pids: Sequence[str]) -> BoolArray:
    """Whether each process (column) may own ops of each track (row; the last: any other)."""
    groups = [_group(pid) for pid in pids]
    rows = []
    for name in names:
        label = label_of(name)
        rows.append([g == label for g in groups] if label in groups else [True] * len(pids))
    return np.array([*rows, [True] * len(pids)], np.bool_)


def _launch_ids(events: Events, process: npt.NDArray[np.int32], count: int) -> list[IntArray]:
    """The correlation ids of each process's calls, ascending."""
    calls = events.rows(Kind.CALL)
    calls = calls[joins(events.correlation[calls])]
    return [np.unique(events.correlation[calls[process[calls] == n]]) for n in range(count)]


def _by_launch(
    wanted: IntArray, ids: Sequence[IntArray], numbers: IntArray
) -> npt.NDArray[np.int32]:
    """Which of these processes launched the ops with these ids: NONE, or _SEVERAL if ambiguous.

    If two of them share ids, each numbers its own calls. Then an op may belong to any process that
    reached its id, since the op's own process may have lost the call.
    """
    if len(numbers) == 1:
        return np.full(len(wanted), numbers[0], np.int32)
    own = [ids[number] for number in numbers]
    has = np.stack([np.isin(wanted, some) & (wanted != NONE) for some in own])
    may_have = has
    if len(np.unique(np.concatenate(own))) < sum(map(len, own)):
        may_have = np.stack([_within(wanted, some) for some in own])
    owner = np.where(has.any(axis=0), numbers[has.argmax(axis=0)], NONE).astype(np.int32)
    owner[may_have.sum(axis=0) > 1] = _SEVERAL
    return owner


def _within(wanted: IntArray, ids: IntArray) -> BoolArray:
    if not len(ids):
        return np.zeros(len(wanted), np.bool_)
    within: BoolArray = (wanted >= ids[0]) & (wanted <= ids[-1]) & (wanted != NONE)
    return within


def _by_track(
    owner: npt.NDArray[np.int32], track: IntArray, device: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """The owners, with unknown ones filled in on tracks with launches of a single process."""
    if (owner != NONE).all():
        return owner
    _, place = np.unique(np.stack([track, device]), axis=1, return_inverse=True)
    place = place.ravel()
    filled = owner.copy()
    for number in np.unique(place[owner == NONE]):
        mine = place == number
        known = np.unique(owner[mine & (owner != NONE)])
        if len(known) == 1:
            filled[mine] = known[0]
    return filled


def _ambiguous(source: str, events: Events, why: str, row: int) -> TraceError:
    which = ""
    if row != NONE:
        kind = Kind(events.kind[row]).name.lower()
        which = f"{kind} at {events.start_ns[row]} ns (correlation {events.correlation[row]}): "
    return TraceError(
        f"{source}: it holds several processes and does not tell whose each GPU op is",
        why=f"{which}{why}",
        remedy="Give the trace of each process by itself, as the profiler wrote it.",
    )


def ranks_of(pids: Sequence[str]) -> tuple[int, ...]:
    """The rank of each process: the number in its label ("[TP01]"), else its place in order."""
    numbers = [re.findall(r"\d+", _group(pid)) for pid in pids]
    if all(len(found) == 1 and len(found[0]) <= _MOST_DIGITS for found in numbers):
        ranks = tuple(int(found[0]) for found in numbers)
        if len(set(ranks)) == len(ranks):
            return ranks
    return tuple(range(len(pids)))


def by_process(trace: Trace) -> tuple[Trace, ...]:
    """One trace for each process with a range or a GPU op; the trace itself for a single process.

    Each has its rank as `info.rank` and only its pid in `info.processes`. Other processes, which
    may have stray calls, get no rank; those with launches are in `info.launching_only`.
    """
    pids = trace.info.processes
    if len(pids) <= 1:
        return (trace,)
    parts: dict[str, Events] = {}
    launching: list[str] = []
    for number, pid in enumerate(pids):
        events = trace.events.take(np.flatnonzero(trace.events.process == number))
        if len(events.rows(Kind.RANGE, *GPU_OP_KINDS)):
            parts[pid] = replace(events, process=absent("process", len(events)))
        elif calls_that(replace(trace, events=events), events.rows(Kind.CALL), LAUNCHING).any():
            launching.append(pid)
    info = replace(trace.info, launching_only=tuple(launching))
    return tuple(
        replace(trace, events=events, info=replace(info, rank=rank, processes=(pid,)))
        for (pid, events), rank in zip(parts.items(), ranks_of(tuple(parts)), strict=True)
    )
