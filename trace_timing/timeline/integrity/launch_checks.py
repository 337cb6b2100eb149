"""Integrity checks of launches and ops: does every stage have all of them."""

from __future__ import annotations

from collections import Counter
from statistics import median

import numpy as np

from trace_timing.api_call_names import LAUNCHING
from trace_timing.arrays import IntArray
from trace_timing.stages import Stage
from trace_timing.timeline.build.model import StageKey, StageRange
from trace_timing.timeline.integrity.subject import RunSubject, TraceSubject, some
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import NONE, Kind, Trace
from trace_timing.trace.integrity.check import Found, passed
from trace_timing.trace.integrity.counts import check_integrity, launches

#: Share of a stage's time from which on a disturbance is worth a warning.
NOTABLE_FRAC = 0.05
#: How many times as late as any other forward's first launch: that time hardly differs normally.
LATE_TIMES = 3
#: Share of the median step's ops below which ops may be lost: forwards launch about as many.
FEW_FRAC = 0.5
_LEAST_STEPS = 3
#: A profiler event that is no work of the profiler: the host waits for room in the device's queue.
_QUEUE_FULL = "Command Buffer Full"
_FORWARDS: tuple[Stage, ...] = ("vision", "vision_encoder", "prefill", "decode")


def lost_in_run(subject: RunSubject) -> Found:
    """Launches within the run to which no op belongs."""
    lost, ordinal = launches(subject.trace).lost, subject.run.ordinal
    homes = _runs_of(subject, lost)
    return _lost(subject.trace, int((homes == ordinal).sum()))


def lost_outside(subject: TraceSubject) -> Found:
    """Launches outside every run to which no op belongs."""
    lost = launches(subject.trace).lost
    return _lost(subject.trace, int((_runs_of(subject, lost) == NONE).sum()))


def _runs_of(subject: RunSubject | TraceSubject, rows: IntArray) -> IntArray:
    """The run in which each of these host events begins."""
    events = subject.trace.events
    return subject.timeline.hosts.runs_at(events.thread[rows], events.start_ns[rows])


def _lost(trace: Trace, count: int) -> Found:
    known = check_integrity(trace)
    if not count:
        return passed(f"{known.launches} launches in the trace")
    return Found(
        count=count,
        evidence=f"{count} of {known.launches} launches; of the trace's first ones "
        f"{known.lost_at_head}",
    )


def without_ops(subject: RunSubject) -> Found:
    """Forwards without any op, of runs on a device; a server's may have none."""
    forwards = subject.ranges("prefill", "decode", recorded=True)
    if not subject.is_call or subject.run.clock == "host" or not forwards:
        return passed("no forward of a call on a device")
    counts = subject.ops_by_key()
    keys = list(dict.fromkeys(r.key for r in forwards if r.key is not None))
    empty = [subject.run.keys[k] for k in keys if not counts[k]]
    if not empty:
        return passed(f"{len(keys)} forwards, {min(counts[k] for k in keys)} ops at least")
    names = [key.label for key in empty]
    return Found(count=len(empty), evidence=f"{some(names)}: no op", stage=empty[0].stage)


def outlasting_range(subject: RunSubject) -> Found:
    """Whether the range that ends last goes on for more than half after all else in the run."""
    run, events = subject.run, subject.trace.events
    begin, end = run.generate_start_ns, run.generate_end_ns
    inner = list(run.ranges)
    if end is None and inner:
        last_range = max(inner, key=lambda r: r.end_ns)
        inner.remove(last_range)
        begin, end = run.window_start_ns, last_range.end_ns
    if begin is None or end is None or run.window_end_ns > end:
        return passed("a GPU op ends last")
    edges = [edge for item in inner for edge in (item.start_ns, item.end_ns)]
    calls = events.end_ns[events.rows(Kind.CALL)]
    times = np.concatenate([calls, run.ops.end_ns, np.array(edges, np.int64)])
    times = times[(times > begin) & (times <= end)]
    last = int(times.max()) if len(times) else end
    if end - last <= last - begin:
        return passed(f"{end - last} ns after the last stage, call and op")
    return Found(
        count=1,
        evidence=f"{end - last} ns after the last stage, call and op, {last - begin} ns up to it",
    )


def few_ops(subject: RunSubject) -> Found:
    """Decode steps with far fewer ops than the others."""
    counts = subject.ops_by_key()
    keys = {
        r.key
        for r in subject.ranges("decode", recorded=True)
        if r.key is not None and counts[r.key]
    }
    if len(keys) < _LEAST_STEPS or not subject.is_call:
        return passed(f"{len(keys)} decode steps with ops")
    usual = median(int(counts[k]) for k in keys)
    few = sorted(k for k in keys if counts[k] < FEW_FRAC * usual)
    if not few:
        return passed(f"{len(keys)} decode steps of about {usual:g} ops")
    names = [f"{subject.run.keys[k].label}: {counts[k]}" for k in few]
    return Found(
        count=len(few), evidence=f"{some(names)} ops, {usual:g} in the middle", stage="decode"
    )


def late_first_launch(subject: RunSubject) -> Found:
    """Forwards whose first launch comes late: those before it may be lost with their ops."""
    trace = subject.trace
    calls = trace.events.rows(Kind.CALL)
    launched = calls[calls_that(trace, calls, LAUNCHING)]
    at = np.sort(trace.events.start_ns[launched], kind="stable")
    gaps: list[tuple[int, StageRange]] = []
    for item in subject.ranges(*_FORWARDS, recorded=True):
        place = int(np.searchsorted(at, item.start_ns))
        if place < len(at) and at[place] < item.end_ns:
            gaps.append((int(at[place]) - item.start_ns, item))
    if len(gaps) < _LEAST_STEPS:
        return passed(f"{len(gaps)} forwards with a launch: too few to compare")
    (second, _), (gap, item) = sorted(gaps, key=lambda found: found[0])[-2:]
    length = item.end_ns - item.start_ns
    if gap <= NOTABLE_FRAC * length or gap <= LATE_TIMES * second:
        return passed(f"{len(gaps)} forwards, the first launch after {gap} ns at most")
    key = subject.key(item)
    return Found(
        count=1,
        evidence=f"{key.label} launches after {gap} of its {length} ns, all others within "
        f"{second} ns",
        stage=key.stage,
    )


def forward_without_range(subject: RunSubject) -> Found:
    """As many ops between stages as a forward has: its range may be missing."""
    run, counts = subject.run, subject.ops_by_key()
    decode = {r.key for r in subject.ranges("decode", recorded=True) if r.key is not None}
    if not decode or not subject.is_call:
        return passed("no decode steps to compare with")
    usual = median(int(counts[k]) for k in decode)
    other = np.array([key == StageKey("other") for key in run.keys], np.bool_)[run.ops.key]
    begins = np.array([r.start_ns for r in run.ranges], np.int64)
    places = np.searchsorted(begins, run.ops.launch_ns[other], side="right")
    most = Counter(places.tolist()).most_common(1)
    if not most or most[0][1] < max(FEW_FRAC * usual, 1):
        return passed(f"{int(other.sum())} ops in no stage, decode steps of about {usual:g}")
    place, count = most[0]
    after = subject.key(run.ranges[place - 1]).label if place else "the beginning"
    return Found(
        count=1,
        evidence=f"{count} ops in no stage after {after}, decode steps have about {usual:g}",
        stage="other",
    )


def profiler_overhead(subject: RunSubject) -> Found:
    """Work of the profiler itself (buffer requests, flushes) inside a stage."""
    events, trace = subject.trace.events, subject.trace
    rows = events.rows(Kind.OVERHEAD)
    own = np.array([name != _QUEUE_FULL for name in trace.names], np.bool_)
    rows = rows[own[events.name[rows]]] if len(rows) else rows
    spent: Counter[Stage] = Counter()
    length: Counter[Stage] = Counter()
    for item in subject.run.ranges:
        stage = subject.key(item).stage
        if item.key in subject.run.unrecorded or stage == "other":
            continue
        length[stage] += item.end_ns - item.start_ns
        begin = np.maximum(events.start_ns[rows], item.start_ns)
        end = np.minimum(events.end_ns[rows], item.end_ns)
        spent[stage] += int(np.maximum(end - begin, 0).sum())
    notable = [s for s, ns in spent.items() if ns > NOTABLE_FRAC * length[s]]
    if not notable:
        return passed(f"{sum(spent.values())} ns in stages")
    worst = max(notable, key=lambda s: spent[s] / max(length[s], 1))
    return Found(
        count=len(notable),
        evidence=f"{spent[worst]} ns within the {length[worst]} ns of {worst}",
        stage=worst,
    )
