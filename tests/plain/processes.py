"""Whose an event is in a merged trace, once more and plainly: every question is asked of each op.

Shares nothing with trace_timing. A label is what stands before a process's number: "[TP01]" of
"[TP01] 4243".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.plain.figures import Event, Figures, Refused, Trace, figures_of, ranges_of, read

#: The figures of each rank.
Ranks = dict[int, Figures]


def figures_of_each(text: str) -> Ranks:
    """The figures of every process of a trace, by rank.

    Raises:
        Unreadable, Refused: as they say.
    """
    trace = read(text)
    names = process_names(trace)
    if len(names) <= 1:
        return {0: figures_of(trace)}
    every = dict(zip(names, taken_apart(trace, names), strict=True))
    parts = {name: part for name, part in every.items() if part.ranges or part.ops}
    refuse_ranges_of_another(list(parts.values()))
    useful = {name: p for name, p in parts.items() if p.ops or has_ranges(p)} or parts
    ranks = dict(zip(useful, ranks_of(list(useful)), strict=True))
    return {ranks[name]: figures_of(part) for name, part in useful.items()}


def process_names(trace: Trace) -> list[str]:
    """The processes by rank: those of host events, and labels that device events alone have."""
    hosts = {e.thread[0] for e in (*trace.ranges, *trace.calls)}
    tracks = [(op.device, track_of(op)) for op in trace.ops]
    shared = len(set(tracks)) > len({device for device, _ in tracks})
    labels = {label_of(track) for _, track in tracks if track}
    if len(hosts) <= 1 and not shared and len(labels) <= 1:
        return sorted(hosts)
    known = {group_of(pid) for pid in hosts}
    names = hosts | {label for label in labels if label and label not in known}
    if len(names) <= 1:
        raise Refused("a device has several owners and the file names one process")
    return sorted(names, key=natural)


def track_of(op: Event) -> str | None:
    """What an op has for a process; None where that is its device's number or no number."""
    pid = op.thread[0]
    return pid if pid != str(op.device) and pid[-1:] in set("0123456789") else None


def label_of(pid: str) -> str:
    """What stands before a number; empty where nothing does."""
    found = re.fullmatch(r"(.*?)-?[0-9]+", pid, re.DOTALL)
    return found[1].strip() if found else ""


def group_of(pid: str) -> str:
    """The label; the whole name where it ends in no number."""
    return label_of(pid) if re.search(r"[0-9]\Z", pid) else pid


def natural(pid: str) -> list[tuple[int, int | str]]:
    """Rank 10 comes after rank 9."""
    found = [part for part in re.split(r"(\d+)", pid) if part]
    return [(0, int(p)) if p.isdecimal() and len(p) <= 18 else (1, p) for p in found]


def ranks_of(names: list[str]) -> list[int]:
    """The number in each label, where every one has one of its own; else the place in order."""
    numbers = [re.findall(r"\d+", group_of(name)) for name in names]
    if all(len(some) == 1 and len(some[0]) <= 18 for some in numbers):
        ranks = [int(some[0]) for some in numbers]
        if len(set(ranks)) == len(ranks):
            return ranks
    return list(range(len(names)))


@dataclass(frozen=True)
class Process:
    """One process and the correlation ids of its calls."""

    name: str
    ids: frozenset[int]


def taken_apart(trace: Trace, names: list[str]) -> list[Trace]:
    """The events of each process."""
    parts = [
        Trace(
            ranges=[r for r in trace.ranges if r.thread[0] == name],
            calls=[c for c in trace.calls if c.thread[0] == name],
        )
        for name in names
    ]
    processes = [
        Process(n, frozenset(c.correlation for c in p.calls) - {-1})
        for n, p in zip(names, parts, strict=True)
    ]
    launched = [launcher(op, processes) for op in trace.ops]
    for op, owner in zip(trace.ops, launched, strict=True):
        if owner is None:
            others = {
                other
                for one, other in zip(trace.ops, launched, strict=True)
                if other is not None and one.device == op.device and track_of(one) == track_of(op)
            }
            if len(others) != 1:
                raise Refused(f"no process launched {op.name}, and its track has several or none")
            owner = others.pop()
        parts[owner].ops.append(op)
    return parts


def launcher(op: Event, processes: list[Process]) -> int | None:
    """The process that launched an op; None where none has a call with its id.

    Raises:
        Refused: more than one may have.
    """
    track = track_of(op)
    label = label_of(track) if track else ""
    mine = [n for n, p in enumerate(processes) if group_of(p.name) == label]
    if track is None or not mine:
        mine = list(range(len(processes)))
    if len(mine) == 1:
        return mine[0]
    every = [i for n in mine for i in processes[n].ids]
    # Where two count the same ids, the one that got as far may have lost its call.
    apart = len(set(every)) == len(every)
    ids = [processes[n].ids for n in mine]
    may = [
        n
        for n, own in zip(mine, ids, strict=True)
        if op.correlation in own
        or (not apart and own and min(own) <= op.correlation <= max(own) and op.correlation != -1)
    ]
    if len(may) > 1:
        raise Refused(f"{op.name} may be of several processes")
    return next((n for n in may if op.correlation in processes[n].ids), None)


def has_ranges(part: Trace) -> bool:
    """Whether a process has a stage range or a generate range."""
    generate, stages = ranges_of(part)
    return bool(generate or stages)


def refuse_ranges_of_another(parts: list[Trace]) -> None:
    """Ranges of a process that launched nothing do not time another's ops."""
    idle = any(has_ranges(p) and not p.ops for p in parts)
    unranged = any(p.ops and not has_ranges(p) for p in parts)
    if idle and unranged:
        raise Refused("the process with the ranges launched no op, another did")
