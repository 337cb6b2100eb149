"""Attribution and tiling once more, plainly and slowly: instant by instant, op by op."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlainRange:
    """A stage range of a thread, or generate (stage None)."""

    stage: str | None
    thread: int
    start: int
    end: int


@dataclass(frozen=True)
class PlainOp:
    """An op, and the thread and time of its launch; None where the launch is missing."""

    start: int
    end: int
    launch: tuple[int, int] | None
    device: int = 0


def innermost(ranges: list[PlainRange], thread: int, instant: int) -> str | None:
    """The stage of the shortest range open on a thread at an instant."""
    open_now = [
        r
        for r in ranges
        if r.stage is not None and r.thread == thread and r.start <= instant < r.end
    ]
    return min(open_now, key=lambda r: (r.end - r.start, -r.start)).stage if open_now else None


def stage_of(op: PlainOp, ranges: list[PlainRange], generate: PlainRange) -> str:
    """Where an op belongs, by the words of the design."""
    if op.launch is None:
        return "unattributed"
    thread, instant = op.launch
    if not generate.start <= instant < generate.end:
        return "unattributed"
    ranged = {r.thread for r in ranges if r.stage is not None}
    return innermost(ranges, thread if thread in ranged else generate.thread, instant) or "other"


def windows(
    ops: list[PlainOp], ranges: list[PlainRange], generate: PlainRange
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Window, busy and queued time of each stage, one nanosecond at a time."""
    owner = [stage_of(op, ranges, generate) for op in ops]
    ends = [op.end for op, s in zip(ops, owner, strict=True) if s != "unattributed"]
    launched = [op.start if op.launch is None else op.launch[1] for op in ops]
    window: dict[str, int] = {}
    busy: dict[str, int] = {}
    queued: dict[str, int] = {}
    for instant in range(generate.start, max([generate.end, *ends])):
        running = [i for i, op in enumerate(ops) if op.start <= instant < op.end]
        waiting = [
            i for i, op in enumerate(ops) if min(launched[i], op.start) <= instant < op.start
        ]
        if running:
            first = min(running, key=lambda i: (launched[i], ops[i].start, i))
            stage = owner[first]
            busy[stage] = busy.get(stage, 0) + 1
        elif waiting:
            later = [i for i, op in enumerate(ops) if op.start > instant]
            stage = owner[min(later, key=lambda i: (ops[i].start, launched[i], i))]
            queued[stage] = queued.get(stage, 0) + 1
        else:
            stage = innermost(ranges, generate.thread, instant) or "other"
        window[stage] = window.get(stage, 0) + 1
    return window, busy, queued


@dataclass(frozen=True)
class PlainSwitched:
    """A run whose recording was switched: its ranges, ops, launches without ops, and gaps.

    A gap is the begin of its off span, the begin of its guard step, and the end of that.
    """

    ranges: list[PlainRange]
    ops: list[PlainOp]
    lost: list[int]
    gaps: list[tuple[int, int, int]]


def spoiled_steps(run: PlainSwitched) -> set[str]:
    """Steps beside a gap that lost an op or a launch there, gap and guard steps apart."""
    generate = PlainRange(None, 0, 0, 1 << 40)
    launched = {op.launch[1] for op in run.ops if op.launch}
    spoiled: set[str] = set()
    behind = 0
    for off, _, end in run.gaps:
        stretch = [t for t in (*launched, *run.lost) if behind <= t < off]
        behind = end
        tail = [t for t in run.lost if t in stretch and all(n < t for n in launched & set(stretch))]
        if set(stretch) & launched:
            spoiled |= {innermost(run.ranges, 0, t) or "" for t in tail}
    for orphan in orphans_of(run):
        for stage in {r.stage for r in run.ranges if r.stage}:
            own = [o for o in run.ops if o.launch and stage_of(o, run.ranges, generate) == stage]
            starts, ends = [o.start for o in own], [o.end for o in own]
            if own and min(starts) < orphan.end and max(ends) > orphan.start:
                spoiled.add(stage)
    numbers = {s.split("[")[1] for s in spoiled if "[" in s}
    return {f"{kind}[{number}" for number in numbers for kind in ("decode", "sampling")}


def orphans_of(run: PlainSwitched) -> list[PlainOp]:
    """Ops without launch that start in a gap, or before the last op of its guard step ends."""
    found: dict[PlainOp, None] = {}
    for off, guard, end in run.gaps:
        own = [op.end for op in run.ops if op.launch and guard <= op.launch[1] < end]
        until = max([end, *own])
        found |= {op: None for op in run.ops if not op.launch and off <= op.start < until}
    return list(found)
