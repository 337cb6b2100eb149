"""Nested host ranges → the innermost stage of each thread over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trace_timing.errors import AttributionError
from trace_timing.records import NUMBERED_STAGES, Stage
from trace_timing.timeline.layout import HostTimeline, StageKey, StageRange
from trace_timing.timeline.stages import StageMap
from trace_timing.trace.events import NONE, Kind, Trace
from trace_timing.units import distinct_codes


@dataclass(frozen=True)
class FoundRanges:
    """The ranges of a trace that mean something.

    `stages` are in order of begin (of equal begins the longer, the outer one, first); `generate`
    holds the outermost generate ranges alone, by begin.
    """

    keys: tuple[StageKey, ...]
    stages: tuple[StageRange, ...]
    generate: tuple[StageRange, ...]
    #: Range names that no stage claims, for messages: seen, but not ours.
    unclaimed: tuple[str, ...]


def find_ranges(trace: Trace, stage_map: StageMap) -> FoundRanges:
    """Pick the stage and generate ranges out of a trace.

    Raises:
        AttributionError: ranges of one thread cross, so nothing is innermost.
    """
    events = trace.events
    rows = events.rows(Kind.RANGE)
    meaning = {n: stage_map.resolve(trace.names[n]) for n in distinct_codes(events.name[rows])}
    rows = rows[np.lexsort((-events.dur_ns[rows], events.start_ns[rows]))]
    keys: dict[StageKey, int] = {}
    stages: list[StageRange] = []
    generate: list[StageRange] = []
    unnumbered: Counter[Stage] = Counter()
    for row in rows:
        found = meaning[events.name[row]]
        if found is None:
            continue
        key = None
        if found == "generate":
            unnumbered.clear()
        else:
            numbered = _numbered(found, unnumbered)
            key = keys.setdefault(numbered, len(keys))
        start = int(events.start_ns[row])
        item = StageRange(
            key=key,
            thread=int(events.thread[row]),
            start_ns=start,
            end_ns=start + int(events.dur_ns[row]),
        )
        (generate if key is None else stages).append(item)
    _refuse_crossing([*stages, *generate], tuple(keys))
    return FoundRanges(
        tuple(keys),
        tuple(stages),
        tuple(_outermost(generate)),
        tuple(trace.names[n] for n, found in meaning.items() if found is None),
    )


def _numbered(key: StageKey, seen: Counter[Stage]) -> StageKey:
    """Decode and sampling ranges whose names carry no number get one by order within the run."""
    if key.step is not None or key.stage not in NUMBERED_STAGES:
        return key
    first = 1 if key.stage == "decode" else 0
    step = first + seen[key.stage]
    seen[key.stage] += 1
    return StageKey(key.stage, step)


def _outermost(generate: Sequence[StageRange]) -> list[StageRange]:
    kept: list[StageRange] = []
    open_until: dict[int, int] = {}
    for item in generate:
        if item.end_ns > open_until.get(item.thread, item.start_ns - 1):
            kept.append(item)
            open_until[item.thread] = item.end_ns
    return kept


def _refuse_crossing(ranges: Sequence[StageRange], keys: Sequence[StageKey]) -> None:
    stacks: dict[int, list[StageRange]] = {}
    for item in sorted(ranges, key=lambda r: (r.start_ns, -r.end_ns)):
        stack = stacks.setdefault(item.thread, [])
        while stack and stack[-1].end_ns <= item.start_ns:
            stack.pop()
        if stack and stack[-1].end_ns < item.end_ns:
            first, second = (_label(r, keys) for r in (stack[-1], item))
            raise AttributionError(
                f"ranges {first} and {second} of one thread cross",
                why=f"{second} begins {stack[-1].end_ns - item.start_ns} ns before {first} ends "
                f"and outlasts it by {item.end_ns - stack[-1].end_ns} ns",
                remedy="record them nested, or map only one of them to a stage",
            )
        stack.append(item)


def _label(item: StageRange, keys: Sequence[StageKey]) -> str:
    if item.key is None:
        return "generate"
    key = keys[item.key]
    return key.stage if key.step is None else f"{key.stage}[{key.step}]"


def host_timelines(ranges: Sequence[StageRange]) -> Mapping[int, HostTimeline]:
    """The innermost stage of each thread over time.

    Args:
        ranges: stage ranges, properly nested per thread, by begin, the outer first.
    """
    by_thread: dict[int, list[StageRange]] = {}
    for item in ranges:
        by_thread.setdefault(item.thread, []).append(item)
    return {thread: _step_function(items) for thread, items in by_thread.items()}


def _step_function(ranges: Sequence[StageRange]) -> HostTimeline:
    times: list[int] = []
    keys: list[int] = []
    stack: list[StageRange] = []

    def close_until(instant: int | None) -> None:
        while stack and (instant is None or stack[-1].end_ns <= instant):
            ended = stack.pop()
            _switch(times, keys, ended.end_ns, stack[-1].key if stack else NONE)

    for item in ranges:
        close_until(item.start_ns)
        stack.append(item)
        _switch(times, keys, item.start_ns, item.key)
    close_until(None)
    return HostTimeline(np.array(times, np.int64), np.array(keys, np.int32))


def _switch(times: list[int], keys: list[int], instant: int, key: int | None) -> None:
    value = NONE if key is None else key
    if times and times[-1] == instant:
        keys[-1] = value
    else:
        times.append(instant)
        keys.append(value)
