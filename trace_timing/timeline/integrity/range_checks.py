"""Integrity checks of ranges: is each step there, once, with a length and inside its run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from trace_timing.stages import STEP_STAGES
from trace_timing.timeline.build.model import StageRange
from trace_timing.timeline.integrity.subject import RunSubject, TraceSubject, some
from trace_timing.trace.integrity.check import Found, passed
from trace_timing.trace.integrity.event_checks import ZERO_ALONE_NS, rest_begins


def no_generate(subject: TraceSubject) -> Found:
    """Stage ranges without a generate range: where the run begins and ends is not recorded."""
    timeline = subject.timeline
    if not timeline.has_stage_ranges or timeline.serving:
        return passed("no stage ranges of a generate() call")
    if timeline.runs and timeline.runs[0].generate_start_ns is not None:
        return passed(f"{len(timeline.runs)} generate ranges")
    return Found(count=1, evidence="stage ranges, and no range named generate")


def outside_generate(subject: TraceSubject) -> Found:
    """Stage ranges that begin in no generate range: they are in no run."""
    outside = subject.timeline.outside
    if not outside:
        return passed("every stage range is in a run")
    names = Counter(subject.timeline.keys[r.key].label for r in outside if r.key is not None)
    return Found(count=len(outside), evidence=f"{len(outside)} ranges: {some(list(names))}")


def on_other_thread(subject: RunSubject) -> Found:
    """Stage ranges of the run on another thread than its generating thread."""
    run, hosts = subject.run, subject.timeline.hosts
    if not subject.is_call:
        return passed("no stage ranges of a call")
    others = [
        r
        for r in run.ranges
        if r.thread != run.generating_thread
        and subject.key(r).stage != "other"
        and not ((hosts.run_thread == r.thread) & (hosts.run_start_ns <= r.start_ns)
                 & (r.start_ns < hosts.run_end_ns)).any()
    ]  # fmt: skip
    if not others:
        return passed(f"{len(run.ranges)} ranges, all on the generating thread")
    names = list(dict.fromkeys(subject.key(r).label for r in others))
    return Found(
        count=len(others),
        evidence=f"{len(others)} of {len(run.ranges)} ranges: {some(names)}",
        stage=subject.key(others[0]).stage,
    )


def at_zero(subject: TraceSubject) -> Found:
    """Stage and generate ranges with the timestamp 0 in a trace of other times."""
    timeline = subject.timeline
    begins = rest_begins(subject.trace)
    starts = [r.start_ns for r in _all_ranges(subject)]
    starts += [r.generate_start_ns for r in timeline.runs if r.generate_start_ns is not None]
    if 0 not in starts or begins is None or abs(begins) < ZERO_ALONE_NS:
        return passed(f"{len(starts)} ranges")
    count = starts.count(0)
    return Found(count=count, evidence=f"{count} ranges; the other events begin at {begins} ns")


def _all_ranges(subject: TraceSubject) -> Iterable[StageRange]:
    timeline = subject.timeline
    return [*(r for run in timeline.runs for r in run.ranges), *timeline.outside]


def without_length(subject: RunSubject) -> Found:
    """Ranges of no length: what was launched in them stands elsewhere."""
    run, rounded = subject.run, subject.trace.info.rounded_to_us
    names = ["generate"] if run.generate_start_ns == run.generate_end_ns is not None else []
    for item in run.ranges:
        key = subject.key(item)
        if key.stage == "other":
            continue  # a mark of the recorder
        # In times of whole µs a short range may round to 0.
        if item.start_ns == item.end_ns and not (rounded and key.stage not in STEP_STAGES):
            names.append(key.label)
    if not names:
        return passed(f"{len(run.ranges)} ranges")
    return Found(count=len(names), evidence=f"{len(names)} ranges: {some(names)}")


def missing_steps(subject: RunSubject) -> Found:
    """Gaps in the step numbers, and decode steps of which only the sampling is there."""
    decode, sampling = subject.steps("decode"), subject.steps("sampling")
    missing = [f"decode[{n}]" for n in _absent(decode, first=1, whole=subject.is_generate)]
    missing += [f"sampling[{n}]" for n in _absent(sampling, first=0, whole=subject.is_generate)]
    if subject.is_generate and sampling and max(sampling) > max(decode, default=0):
        missing += [f"decode[{n}]" for n in range(max(decode, default=0) + 1, max(sampling) + 1)]
    if not missing:
        return passed(f"{len(decode)} decode steps, {len(sampling)} of sampling, no gap")
    return Found(
        count=len(missing),
        evidence=f"{some(missing)} missing beside {len(decode)} decode steps",
        stage="decode",
    )


def _absent(steps: list[int], *, first: int, whole: bool) -> list[int]:
    """Numbers missing below the last one; of a whole run from `first` on.

    In others' traces the first number there is may be any.
    """
    if not steps:
        return []
    begin = min(first, steps[0]) if whole else steps[0]
    return sorted(set(range(begin, steps[-1])) - set(steps))


def missing_sampling(subject: RunSubject) -> Found:
    """Sampling ranges end before the last decode step."""
    decode, sampling = subject.steps("decode"), subject.steps("sampling")
    if not subject.is_generate or not sampling or max(sampling) >= max(decode, default=0):
        return passed(f"{len(sampling)} sampling ranges for {len(decode)} decode steps")
    return Found(
        count=max(decode) - max(sampling),
        evidence=f"decode up to {max(decode)}, sampling up to {max(sampling)}",
        stage="sampling",
    )


def missing_prefill(subject: RunSubject) -> Found:
    """Decode steps in a generate range that has no prefill."""
    if not subject.is_generate or not subject.ranges("decode") or subject.ranges("prefill"):
        return passed(f"{len(subject.ranges('prefill'))} prefill ranges")
    count = len(subject.ranges("decode"))
    return Found(count=1, evidence=f"{count} decode ranges and no prefill", stage="prefill")


def repeated_steps(subject: RunSubject) -> Found:
    """Step numbers that two ranges have, one after the other."""
    open_until: dict[str, int] = {}
    again: list[str] = []
    for item in subject.ranges("decode", "sampling"):
        key = subject.key(item)
        if key.step is None:
            continue
        name = key.label
        if item.start_ns >= open_until.get(name, item.start_ns + 1):
            again.append(name)
        open_until[name] = max(item.end_ns, open_until.get(name, item.end_ns))
    if not again:
        return passed(f"{len(open_until)} numbered ranges, each number once")
    return Found(count=len(again), evidence=f"{some(again)} again", stage="decode")


def tokens_and_steps(subject: RunSubject) -> Found:
    """Output tokens that are not one more than the decode steps."""
    steps, tokens = len(subject.steps("decode")), subject.tokens_out
    if tokens is None:
        return passed("no record of the output tokens")
    evidence = f"{tokens} output tokens, {steps} decode steps"
    if tokens - 1 == steps:
        return passed(evidence)
    return Found(count=1, evidence=evidence, stage="decode")
