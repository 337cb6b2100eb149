"""Find the stage ranges of a trace, and the innermost stage of each thread over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from trace_timing.arrays import IntArray, distinct_codes
from trace_timing.errors import AttributionError
from trace_timing.stages import NUMBERED_STAGES, RECORDING_GUARD, RECORDING_OFF, STEP_STAGES, Stage
from trace_timing.timeline.build.model import NOT_COUNTED, HostTimeline, StageKey, StageRange
from trace_timing.timeline.naming.stage_names import NamedStage, StageMap
from trace_timing.trace.events import NONE, Kind, Trace
from trace_timing.trace.marks import marks_of

#: The recorder's marks count as ranges of `other`, so that the time in them goes to no stage.
_MARKS = (RECORDING_OFF, RECORDING_GUARD)
_GAP = NamedStage("other", NOT_COUNTED)


@dataclass(frozen=True)
class FoundRanges:
    """The stage and generate ranges of a trace.

    `stages` are in order of begin (of equal begins the longer, the outer one, first); `generate`
    holds the outermost generate ranges alone, by begin.
    """

    keys: tuple[StageKey, ...]
    stages: tuple[StageRange, ...]
    generate: tuple[StageRange, ...]
    #: Range names that the stage map does not know, for messages.
    unclaimed: tuple[str, ...]
    #: The map that the names were read with; of several candidates, the chosen one.
    stage_map: StageMap
    #: The trace is a server's: no generate range, and every forward is a step.
    serving: bool
    #: Why names may mean another stage than they were read as → the first such name.
    cautions: Mapping[str, str]
    #: Ranges of one stage that cross, in words; the earlier was ended where the later begins.
    crossings: tuple[str, ...]


def find_ranges(trace: Trace, stage_map: StageMap) -> FoundRanges:
    """Pick the stage and generate ranges out of a trace.

    Raises:
        AttributionError: ranges of different stages of one thread cross, so nothing is innermost;
            or a range that stands for a stage has no usable times.
    """
    events = trace.events
    rows = events.rows(Kind.RANGE)
    names = {n: trace.names[n] for n in distinct_codes(events.name[rows])}
    stage_map = stage_map.chosen_for(names.values())
    meanings = stage_map.meanings([*names.values(), *trace.info.damage.ranges])
    _refuse_bad_ranges(trace.info.damage.ranges, meanings)
    meaning = {n: meanings[name] for n, name in names.items()}
    known = [found for found in meaning.values() if found is not None]
    meaning |= {n: _GAP for n, name in names.items() if known and name in _MARKS}
    serving = stage_map.serving and all(found.stage != "generate" for found in known)
    keys, all_ranges = _ranges_by_begin(trace, rows, meaning, serving=serving)
    generate = [r for r in all_ranges if r.key is None]
    stages = [r for r in all_ranges if r.key is not None]
    stages, crossings = _uncrossed(stages, generate, tuple(keys))
    return FoundRanges(
        tuple(keys),
        tuple(stages),
        tuple(generate),
        tuple(names[n] for n, found in meaning.items() if found is None),
        stage_map,
        serving,
        _cautions(stage_map, names.values()),
        crossings,
    )


def _ranges_by_begin(
    trace: Trace, rows: IntArray, meaning: Mapping[int, NamedStage | None], *, serving: bool
) -> tuple[dict[StageKey, int], list[StageRange]]:
    """The keys that occur, numbered, and their ranges, by begin; of equal begins the longer first.

    Of generate ranges only the outermost.
    """
    events = trace.events
    rows = rows[np.lexsort((-events.dur_ns[rows], events.start_ns[rows]))]
    numbering = _ServerNumbering() if serving else _RunNumbering()
    keys: dict[StageKey, int] = {}
    ranges: list[StageRange] = []
    generating_until: dict[int, int] = {}
    gaps = marks_of(trace).both.hold(events.start_ns[rows]).tolist()
    for row, in_gap in zip(rows, gaps, strict=True):
        named = meaning[events.name[row]]
        if named is None:
            continue
        start, thread = int(events.start_ns[row]), int(events.thread[row])
        end = start + int(events.dur_ns[row])
        if named.stage == "generate":
            if end <= generating_until.get(thread, start - 1):
                continue  # inside another: not a run of its own
            generating_until[thread] = end
        numbered = numbering.key(named, thread, start, end)
        if in_gap and numbered and numbered.step is None:
            numbered = StageKey(numbered.stage, NOT_COUNTED)
        key = None if numbered is None else keys.setdefault(numbered, len(keys))
        ranges.append(
            StageRange(key=key, thread=thread, start_ns=start, end_ns=end, batch=named.batch)
        )
    return keys, ranges


def _refuse_bad_ranges(bad: Mapping[str, str], meanings: Mapping[str, NamedStage | None]) -> None:
    """Refuse ranges with unusable times whose names stand for stages."""
    claimed = {n: state for n, state in bad.items() if meanings[n] is not None or n in _MARKS}
    for name, state in claimed.items():
        raise AttributionError(
            f"{len(claimed)} range names stand for stages and have no usable times",
            why=f"The first: {name!r} {state}",
            remedy="record again; the profiler was stopped inside the range, or wrote a corrupt "
            "trace",
        )


class _RunNumbering:
    """Numbers decode and sampling ranges without a number in their name by order within the run.

    As in attribution, a range is of the generate() call open on its own thread, else of one open on
    another thread. Between calls the last count goes on.
    """

    def __init__(self) -> None:
        self._seen: dict[int, Counter[Stage]] = {}  # by generating thread
        self._open_until: dict[int, int] = {}
        self._last_thread = NONE

    def key(self, found: NamedStage, thread: int, start_ns: int, end_ns: int) -> StageKey | None:
        """The key of the next range by begin; None for generate."""
        if found.stage == "generate":
            self._seen[thread], self._open_until[thread] = Counter(), end_ns
            self._last_thread = thread
            return None
        if found.step is not None or found.stage not in NUMBERED_STAGES:
            return StageKey(found.stage, found.step)
        seen = self._seen.setdefault(self._generating_thread(thread, start_ns), Counter())
        first = 1 if found.stage == "decode" else 0
        step = first + seen[found.stage]
        seen[found.stage] += 1
        return StageKey(found.stage, step)

    def _generating_thread(self, thread: int, start_ns: int) -> int:
        generating = [t for t, end in self._open_until.items() if start_ns < end]
        if thread in generating:
            return thread
        return min(generating, default=self._last_thread)


class _ServerNumbering:
    """Each forward of a server is a step: 0, 1, … of its stage, over the whole trace, by begin.

    A forward within a draft range of its thread is the draft model's.
    """

    def __init__(self) -> None:
        self._seen: Counter[Stage] = Counter()
        self._drafting_until: dict[int, int] = {}

    def key(self, found: NamedStage, thread: int, start_ns: int, end_ns: int) -> StageKey:
        """The key of the next range by begin."""
        assert found.stage != "generate"  # a trace with such ranges is no server's
        until = self._drafting_until.get(thread, start_ns)
        if found.stage == "draft" or (found.stage in STEP_STAGES and start_ns < until):
            self._drafting_until[thread] = max(until, end_ns)
            return StageKey("draft")
        if found.step is not None or found.stage not in STEP_STAGES:
            return StageKey(found.stage, found.step)
        step = self._seen[found.stage]
        self._seen[found.stage] += 1
        return StageKey(found.stage, step)


def _cautions(stage_map: StageMap, names: Iterable[str]) -> dict[str, str]:
    """Reason of each caution of the map that applies → the first name that it applies to."""
    reasons: dict[str, str] = {}
    for name in names:
        for caution in stage_map.cautions:
            if caution.pattern.fullmatch(name):
                reasons.setdefault(caution.reason, name)
    return reasons


def _uncrossed(
    stages: Sequence[StageRange], generate: Sequence[StageRange], keys: Sequence[StageKey]
) -> tuple[list[StageRange], tuple[str, ...]]:
    """The stage ranges, made to nest, and a description of each crossing.

    Of two ranges of one stage that cross, the earlier is ended where the later begins, which does
    not change the stage's time.

    Raises:
        AttributionError: ranges of different stages, or of a stage and generate(), cross.
    """
    ordered = sorted([*stages, *generate], key=lambda r: (r.start_ns, -r.end_ns))
    ends = [item.end_ns for item in ordered]
    stacks: dict[int, list[int]] = {}
    crossings: list[str] = []
    for number, item in enumerate(ordered):
        stack = stacks.setdefault(item.thread, [])
        while stack and ends[stack[-1]] <= item.start_ns:
            stack.pop()
        while stack and ends[stack[-1]] < item.end_ns:
            outer = ordered[stack[-1]]
            overlap = ends[stack[-1]] - item.start_ns
            if not _of_one_stage(outer, item, keys):
                raise _crossing(outer, item, ends[stack[-1]], keys)
            crossings.append(f"{_label(outer, keys)} and {_label(item, keys)} by {overlap} ns")
            ends[stack.pop()] = item.start_ns
        stack.append(number)
    pairs = zip(ordered, ends, strict=True)
    cut = [r if r.end_ns == end else replace(r, end_ns=end) for r, end in pairs]
    return [r for r in cut if r.key is not None], tuple(crossings)


def _of_one_stage(one: StageRange, other: StageRange, keys: Sequence[StageKey]) -> bool:
    if one.key is None or other.key is None:
        return False
    return keys[one.key].stage == keys[other.key].stage


def _crossing(
    outer: StageRange, item: StageRange, outer_end_ns: int, keys: Sequence[StageKey]
) -> AttributionError:
    first, second = _label(outer, keys), _label(item, keys)
    return AttributionError(
        f"ranges {first} and {second} of one thread cross",
        why=f"{second} begins {outer_end_ns - item.start_ns} ns before {first} ends "
        f"and outlasts it by {item.end_ns - outer_end_ns} ns",
        remedy="record them nested, or map only one of them to a stage",
    )


def _label(item: StageRange, keys: Sequence[StageKey]) -> str:
    if item.key is None:
        return "generate"
    return keys[item.key].label


def busiest_thread(ranges: Sequence[StageRange]) -> int:
    """The thread with the most ranges, of several the one that began first; NONE without any."""
    counts = Counter(r.thread for r in ranges)
    return counts.most_common(1)[0][0] if counts else NONE


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
    """The innermost stage of one thread over time, by a stack of the open ranges."""
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
    """Note that the thread is in `key` from this instant on."""
    value = NONE if key is None else key
    if times and times[-1] == instant:
        keys[-1] = value
    else:
        times.append(instant)
        keys.append(value)
