"""Design of the measures once more, plainly: from JSON text to the figures of every stage.

Shares nothing with trace_timing: Python's json, decimal digits, and every question asked of every
event anew. By design too slow for use.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

RANGES = {"user_annotation"}
CALLS = {
    f"{api}_{half}"
    for api in ("cuda", "hip", "privateuse1", "xpu")
    for half in ("runtime", "driver")
} | {"runtime", "driver", "mtia_runtime"}  # fmt: skip
OPS = {"kernel", "gpu_memcpy", "memcpy", "gpu_memset", "memset"}
STAGE = re.compile(
    r"(text_encoder|vision_encoder|projector|vision|prefill|draft)|(decode|sampling)\[(\d+)\]"
)
LIMIT_NS = 2**63


class Unreadable(Exception):
    """The text is not JSON."""


class NotJudged(Exception):
    """Of what this is, the plain design says nothing that could be compared."""


class Refused(Exception):
    """It must be refused."""


@dataclass(frozen=True)
class Event:
    """An event that counts, with exact times."""

    name: str
    thread: tuple[str, str]
    start: int
    end: int
    correlation: int
    place: int
    #: Of a GPU op its device; −1 where the file names none.
    device: int = -1


@dataclass(frozen=True)
class Op:
    """A GPU op, the call that launched it, and where it belongs."""

    event: Event
    launch: Event | None
    run: int | None = None
    stage: str = "unattributed"

    @property
    def launched(self) -> int:
        """When it was launched; an op without a launch when it starts."""
        return self.launch.start if self.launch else self.event.start


@dataclass
class Row:
    """What a stage of a run has."""

    window: int = 0
    busy: int = 0
    kernel_sum: int = 0
    ops: int = 0


@dataclass
class Trace:
    """The events that count, by what they are."""

    ranges: list[Event] = field(default_factory=list)
    calls: list[Event] = field(default_factory=list)
    ops: list[Event] = field(default_factory=list)


#: Figures by run (None: ops in no run's window) and stage.
Figures = dict[tuple[int | None, str], Row]


def figures(text: str) -> Figures:
    """The figures of a trace of one process (tests.plain.processes takes several).

    Raises:
        Unreadable, NotJudged, Refused: as they say.
    """
    trace = read(text)
    if len({e.thread[0] for e in (*trace.ranges, *trace.calls)}) > 1:
        raise NotJudged("several processes")
    return figures_of(trace)


def figures_of(trace: Trace) -> Figures:
    """The figures of one process's events."""
    generate, stages = ranges_of(trace)
    return tiled(trace, generate, stages)


def read(text: str) -> Trace:
    """The events that count, of all processes."""
    try:
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    events = document if isinstance(document, list) else document.get("traceEvents")
    if not isinstance(events, list) or not all(isinstance(e, dict) for e in events):
        raise Refused("no list of events")
    trace = Trace()
    for place, event in enumerate(events):
        category = str(event.get("cat")).lower() if event.get("ph") == "X" else ""
        if category not in RANGES | CALLS | OPS:
            continue
        name = "" if event.get("name") is None else str(event["name"])
        start, dur = ns(event.get("ts")), ns(event.get("dur"))
        usable = start is not None and dur is not None and dur >= 0 and start + dur < LIMIT_NS
        if not usable:
            if category in RANGES and stage_of(name) is None and name != "generate":
                continue
            raise Refused(f"{name} has no usable times")
        assert start is not None
        assert dur is not None
        args = event.get("args") if isinstance(event.get("args"), dict) else {}
        thread = (word(event.get("pid")), word(event.get("tid")))
        one = Event(name, thread, start, start + dur, whole(args.get("correlation")), place)
        if category in OPS:
            trace.ops.append(replace(one, device=device_of(args, event.get("pid"))))
        else:
            (trace.ranges if category in RANGES else trace.calls).append(one)
    if not (trace.ranges or trace.calls or trace.ops):
        raise Refused("nothing to time")
    return trace


def ns(us: Any) -> int | None:
    """Exact nanoseconds of a number, or of text that is one."""
    try:
        value = us if isinstance(us, Decimal) else Decimal(us) if isinstance(us, str) else None
        if value is None or not value.is_finite() or abs(value.adjusted()) > 40:
            return 0 if value is not None and value == 0 else None
        found = int((value * 1000).to_integral_value())
    except InvalidOperation:
        return None
    return found if abs(found) < LIMIT_NS else None


def word(value: Any) -> str:
    """A pid or tid as text; numbers that are whole as such."""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return str(int(value))
    return "" if value is None else str(value)


def whole(value: Any) -> int:
    """A correlation id; -1 for none."""
    found = number(value)
    return -1 if found == 0 else found


def number(value: Any) -> int:
    """A whole number, -1 for none and for what CUPTI writes for none."""
    try:
        found = int(value, 0) if isinstance(value, str) else int(value)
    except (TypeError, ValueError, OverflowError):
        return -1
    return -1 if found in (2**32 - 1, 2**64 - 1) or not -LIMIT_NS <= found < 2**64 else found


def device_of(args: dict[str, Any], pid: Any) -> int:
    """An op's device: its argument, else the number that stands for its process."""
    device, track = number(args.get("device")), number(pid)
    return device if device != -1 else track if 0 <= track < 2**31 - 1 else -1


def stage_of(name: str) -> str | None:
    """The stage that a range's name stands for, by the default names."""
    found = STAGE.fullmatch(name)
    if found and found[3] and len(found[3]) > 18:
        raise Refused(f"{name} has a number that does not fit")
    return found and (found[1] or found[2])


def ranges_of(trace: Trace) -> tuple[list[Event], list[Event]]:
    """The outermost generate ranges, and the stage ranges with crossings of one stage undone."""
    every = sorted(trace.ranges, key=lambda r: (r.start, -(r.end - r.start), r.place))
    generate: list[Event] = []
    for item in every:
        outer = [g for g in generate if g.thread == item.thread and g.end >= item.end]
        if item.name == "generate" and not outer:
            generate.append(item)
    stages = [r for r in every if stage_of(r.name)]
    changed = True
    while changed:
        changed = False
        for i, first in enumerate(stages):
            for second in stages[i + 1 :]:
                if not crosses(first, second):
                    continue
                if stage_of(first.name) != stage_of(second.name):
                    raise Refused("ranges of different stages cross")
                stages[i] = first = replace(first, end=second.start)
                changed = True
    for one in generate:
        others = [*stages, *(g for g in generate if g is not one)]
        if any(crosses(one, other) or crosses(other, one) for other in others):
            raise Refused("a range crosses generate()")
    return generate, stages


def crosses(first: Event, second: Event) -> bool:
    """Whether the second begins within the first, of the same thread, and outlasts it."""
    return first.thread == second.thread and first.start < second.start < first.end < second.end


def innermost(stages: list[Event], thread: tuple[str, str] | None, instant: int) -> str | None:
    """The stage of the range that is open and began last; of such that began together the last."""
    inside = [r for r in stages if r.thread == thread and r.start <= instant < r.end]
    return stage_of(inside[-1].name) if inside else None


def placed(op: Event, trace: Trace, generate: list[Event], stages: list[Event]) -> Op:
    """An op with its launch, run and stage."""
    calls = [c for c in trace.calls if c.correlation == op.correlation != -1]
    launch = min(calls, key=lambda c: (c.start, c.place), default=None)
    if not (generate or stages) or launch is None:
        return Op(op, launch)
    inside = [(g.thread != launch.thread, threads_in_order(trace).index(g.thread), i)
              for i, g in enumerate(generate) if g.start <= launch.start < g.end]  # fmt: skip
    if generate and not inside:
        return Op(op, launch)
    run = min(inside)[2] if generate else 0
    main = generate[run].thread if generate else busiest(stages)
    own = any(r.thread == launch.thread for r in stages)
    stage = innermost(stages, launch.thread if own else main, launch.start)
    return Op(op, launch, run, stage or "other")


def threads_in_order(trace: Trace) -> list[tuple[str, str]]:
    """Threads in the order in which the file first names them."""
    hosts = sorted([*trace.ranges, *trace.calls], key=lambda e: e.place)
    return list(dict.fromkeys(e.thread for e in hosts))


def busiest(stages: list[Event]) -> tuple[str, str] | None:
    """The thread with the most stage ranges; of several the one that began first."""
    threads = [r.thread for r in stages]
    return max(threads, key=threads.count, default=None)


def tiled(trace: Trace, generate: list[Event], stages: list[Event]) -> Figures:
    """Every instant of every run's window to one stage."""
    events = sorted(trace.ops, key=lambda o: (o.start, o.place))
    ops = [placed(op, trace, generate, stages) for op in events]
    windows = windows_of(trace, generate, stages, ops)
    rows: Figures = {}
    homes: list[list[Op]] = [[] for _ in windows]
    for op in ops:
        starts_in = [n for n, (a, b) in enumerate(windows) if a <= op.event.start < b]
        home = op.run
        if home is None:
            home = 0 if len(windows) == 1 else (starts_in or [None])[0]
        if home is not None:
            homes[home].append(op)
        row = rows.setdefault((home, op.stage), Row())
        row.kernel_sum += op.event.end - op.event.start
        row.ops += 1
    for number, window in enumerate(windows):
        own = [s for s in stages if not generate
               or generate[number].start <= s.start < generate[number].end]  # fmt: skip
        thread = generate[number].thread if generate else busiest(own)
        known = bool(generate or stages)
        for left, right, stage, busy in cells(window, homes[number], own, thread, known):
            row = rows.setdefault((number, stage), Row())
            row.window += right - left
            row.busy += (right - left) * busy
    return rows


def windows_of(
    trace: Trace, generate: list[Event], stages: list[Event], ops: list[Op]
) -> list[tuple[int, int]]:
    """Begin and end of each run."""
    if generate:
        return [
            (g.start, max([g.end, *(o.event.end for o in ops if o.run == n)]))
            for n, g in enumerate(generate)
        ]
    spans = [*stages, *(o.event for o in ops)] or [*trace.ranges, *trace.calls]
    return [(min(s.start for s in spans), max(s.end for s in spans))]


def cells(
    window: tuple[int, int],
    ops: list[Op],
    stages: list[Event],
    thread: tuple[str, str] | None,
    known: bool,
) -> list[tuple[int, int, str, bool]]:
    """The window cut wherever anything changes: begin, end, stage, whether an op runs."""
    begin, end = window
    instants = [begin, end, *(t for s in stages for t in (s.start, s.end))]
    instants += [t for o in ops for t in (o.event.start, o.event.end, o.launched)]
    edges = sorted({min(max(t, begin), end) for t in instants})
    found = []
    for left, right in pairwise(edges):
        running = [o for o in ops if o.event.start <= left < o.event.end]
        later = [o for o in ops if o.event.start > left]
        waiting = any(min(o.launched, o.event.start) <= left for o in later)
        if running:
            stage = min(running, key=lambda o: (o.launched, o.event.start)).stage
        elif waiting:
            stage = min(later, key=lambda o: (o.event.start, o.launched)).stage
        else:
            stage = innermost(stages, thread, left) or ("other" if known else "unattributed")
        found.append((left, right, stage, bool(running)))
    return found
