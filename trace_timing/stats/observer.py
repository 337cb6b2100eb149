"""What profiling did to a capture, and what the corrected figures are good to.

Everything is judged in the control's own segments: a profiled run, its replay and its controls are
cut at the same boundaries, and compared run by run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np

from trace_timing.records import STAGES, VISION_STAGES, Doubt, RunRecord, Stage
from trace_timing.stats.bootstrap import Interval, interval
from trace_timing.units import FloatArray

Verdict = Literal["good", "imprecise", "off", "cannot_tell", "uncorrected", "too_few"]
#: Fewer pairs than this have no interval.
LEAST_PAIRS = 3
#: No remedy asks for more pairs than this: the machine has to be made quieter instead.
MOST_PAIRS = 500
#: Unprofiled runs slower than those before any profiling by more than this are worth a doubt.
LASTING = 1.05
#: Share of the quickest values that the undisturbed figure is read at.
ENVELOPE = 0.1
#: A correction is good where its whole interval is this near to the control; an interval that holds
#: 1 and is wider shows only that nothing worse is known.
GOOD = 0.05
SETTLED = 0.03
#: What is compared, each as a sum of stages.
GROUPS: Mapping[str, tuple[Stage, ...]] = {
    "vision": VISION_STAGES,
    "prefill": ("prefill",),
    "decode": ("decode",),
    "step": ("decode", "sampling"),
    "total": STAGES,
}


@dataclass(frozen=True, kw_only=True)
class ObservedRun:
    """One profiled run, its replay and its controls' median, by stage in the control's segments."""

    sample_id: str
    repeat: int
    profiled_ns: Mapping[Stage, int]
    corrected_ns: Mapping[Stage, int] | None
    control_ns: Mapping[Stage, int]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Median of a ratio over n runs, and its 95 % interval (None for fewer than three)."""

    median: float
    interval: Interval | None
    runs: int

    def __str__(self) -> str:
        if self.interval is None:
            return f"×{self.median:.3f}"
        return f"×{self.median:.3f} [{self.interval.low:.3f}, {self.interval.high:.3f}]"


@dataclass(frozen=True, kw_only=True)
class Residual:
    """One group of stages over a capture: how much profiling stretched it, and what is left."""

    group: str
    #: Profiled ÷ control.
    effect: Ratio
    #: Corrected ÷ control; None where nothing was corrected.
    residual: Ratio | None
    verdict: Verdict
    #: Pairs that would settle a verdict of cannot_tell, None where it is settled.
    pairs_needed: int | None


@dataclass(frozen=True, kw_only=True)
class ObserverEffect:
    """The observer effect of a capture, by group, with the sentence that says it."""

    groups: tuple[Residual, ...]
    sentence: str
    doubts: tuple[Doubt, ...]


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Median of pairwise ratios; n pairs, both positive."""
    values = np.asarray(above, np.float64) / np.asarray(below, np.float64)
    return Ratio(median=float(np.median(values)), interval=interval(values), runs=len(values))


def judge(
    group: str,
    profiled: Sequence[float],
    control: Sequence[float],
    corrected: Sequence[float] | None = None,
) -> Residual:
    """Verdict on one group from its pairs, in any one unit of time.

    `cannot_tell`: the interval of the effect reaches down to 1, so noise is larger than the effect
    (of one or two runs: more is left after correction than was taken out). `off`: the residual's
    interval misses 1, and is not within 3 % of it as a whole.
    """
    effect = ratio(profiled, control)
    residual = ratio(corrected, control) if corrected is not None else None
    verdict = _verdict(effect, residual)
    needed = _pairs_needed(effect) if verdict == "cannot_tell" else None
    return Residual(
        group=group, effect=effect, residual=residual, verdict=verdict, pairs_needed=needed
    )


def _verdict(effect: Ratio, residual: Ratio | None) -> Verdict:
    if effect.interval is None:
        # One or two runs have no interval; but where more is left than was taken out, the machine
        # did that and not the profiler: no ladder is wrong by half.
        return "cannot_tell" if residual and _more_left(effect, residual) else "too_few"
    if effect.interval.low <= 1 and not (residual and _settled(residual)):
        return "cannot_tell"
    if residual is None or residual.interval is None:
        return "uncorrected"
    if _within(residual.interval, GOOD):
        return "good"
    return "imprecise" if 1 in residual.interval else "off"


def _more_left(effect: Ratio, residual: Ratio) -> bool:
    return abs(residual.median - 1) > abs(effect.median - residual.median)


def _settled(residual: Ratio) -> bool:
    """Whether the interval lies within 3 % of 1 as a whole: then noise is no objection."""
    return residual.interval is not None and _within(residual.interval, SETTLED)


def _within(interval: Interval, margin: float) -> bool:
    return interval.low > 1 - margin and interval.high < 1 + margin


def _pairs_needed(effect: Ratio) -> int | None:
    """Pairs for which the effect's interval would clear 1, if the noise stays as it is."""
    size = abs(effect.median - 1)
    if effect.interval is None or not size:
        return None
    needed = ceil(effect.runs * (effect.interval.width / 2 / size) ** 2)
    return max(needed, effect.runs + 1)


def undisturbed(values: FloatArray | Sequence[float]) -> float | None:
    """The lower envelope: what most steps would take if the host were never disturbed.

    The tenth percentile over steps and repeats. Noise only ever adds time, so it hardly moves with
    it, where the median does; the minimum would be a step that was lucky, or timed wrongly.
    """
    data = np.asarray(values, np.float64)
    return float(np.quantile(data, ENVELOPE, method="lower")) if len(data) else None


def observer_effect(
    runs: Sequence[ObservedRun], controls: Sequence[RunRecord], profiled_runs: int
) -> ObserverEffect:
    """Judge a capture.

    Args:
        runs: the profiled runs that have a control.
        controls: every control record of the capture, failed ones too.
        profiled_runs: how many profiled runs there are in all.
    """
    groups = tuple(r for r in (_group(name, runs) for name in GROUPS) if r)
    return ObserverEffect(
        groups=groups,
        sentence=_sentence(groups, corrected=any(r.corrected_ns for r in runs)),
        doubts=(
            *_missing_controls(len(runs), profiled_runs),
            *_verdict_doubts(groups),
            *_differing_tokens(controls),
            *_lasting(controls),
        ),
    )


def _group(name: str, runs: Sequence[ObservedRun]) -> Residual | None:
    stages = GROUPS[name]
    rows = [
        (_over(r.profiled_ns, stages), _over(r.control_ns, stages), _corrected(r, stages))
        for r in runs
    ]
    rows = [row for row in rows if row[0] > 0 and row[1] > 0]
    if not rows:
        return None
    corrected = [row[2] for row in rows if row[2] is not None]
    return judge(
        name,
        [row[0] for row in rows],
        [row[1] for row in rows],
        corrected if len(corrected) == len(rows) else None,
    )


def _over(times: Mapping[Stage, int], stages: Sequence[Stage]) -> int:
    return sum(times.get(stage, 0) for stage in stages)


def _corrected(run: ObservedRun, stages: Sequence[Stage]) -> int | None:
    return None if run.corrected_ns is None else _over(run.corrected_ns, stages)


def _sentence(groups: Sequence[Residual], *, corrected: bool) -> str:
    total = next((g for g in groups if g.group == "total"), None)
    if total is None:
        return "No control was taken: what profiling did to these times is not known."
    stretched = f"Profiling made runs {total.effect} as long as their controls"
    if not corrected:
        return f"{stretched}; no cost model was there to take it out (trace-timing doctor)."
    match total.verdict:
        case "cannot_tell":
            more = _more(total.pairs_needed)
            return f"{stretched}, and this machine's noise is larger than that: {more}."
        case "good" | "imprecise" | "off" if total.residual and total.residual.interval:
            ends = total.residual.interval
            worst = max(abs(ends.low - 1), abs(ends.high - 1))
            advice = "" if worst <= 0.05 else "; for better, record fewer ranges or more controls"
            return f"{stretched}; corrected totals are good to {worst:.1%}{advice}."
        case _:
            return f"{stretched}; {total.effect.runs} pairs are too few to say what is left."


def _more(needed: int | None) -> str:
    if needed is None or needed > MOST_PAIRS:
        return "quiet the machine, for no number of pairs would settle it"
    return f"some {needed} pairs would settle it"


def _missing_controls(paired: int, profiled: int) -> Iterator[Doubt]:
    if paired < profiled:
        yield Doubt(
            code="no_control",
            message="Profiled runs have no control, so what profiling did to them is not checked.",
            evidence=f"{profiled - paired} of {profiled} runs",
            remedy="capture with --control 1 or more",
        )


def _verdict_doubts(groups: Sequence[Residual]) -> Iterator[Doubt]:
    for group in groups:
        evidence = f"profiled ÷ control {group.effect}"
        if group.residual:
            evidence += f", corrected ÷ control {group.residual}, {group.effect.runs} pairs"
        if group.verdict == "off":
            yield Doubt(
                code="residual_off",
                message=f"Corrected {group.group} times miss their controls by more than chance.",
                evidence=evidence,
                remedy="calibrate on this machine, record fewer ranges, or use the controls",
                stage=group.group,
            )
        if group.verdict == "imprecise":
            yield Doubt(
                code="residual_imprecise",
                message=f"Corrected {group.group} times are not shown to be good to {GOOD:.0%}.",
                evidence=evidence,
                remedy="take more controls, on a quieter machine, or use the controls",
                stage=group.group,
            )
        if group.verdict == "cannot_tell":
            yield Doubt(
                code="noise_over_effect",
                message=f"In {group.group} times this machine's noise is larger than the effect.",
                evidence=evidence,
                remedy=_more(group.pairs_needed),
                stage=group.group,
            )


def _differing_tokens(controls: Sequence[RunRecord]) -> Iterator[Doubt]:
    dropped = [c for c in controls if c.status == "failed" and "tokens differ" in (c.reason or "")]
    if dropped:
        yield Doubt(
            code="pair_tokens_differ",
            message="Controls made other tokens than their profiled runs and were dropped.",
            evidence=f"{len(dropped)} of {len(controls)} controls",
            remedy="generate greedily or with a fixed seed",
        )


def _lasting(controls: Sequence[RunRecord]) -> Iterator[Doubt]:
    totals = [(c.sample_id, c.control) for c in controls if c.control and c.status == "ok"]
    early = [(s, c.total_ns) for s, c in totals if c.before_profiling]
    samples = {s for s, _ in early}
    late = [c.total_ns for s, c in totals if s in samples and not c.before_profiling]
    if len(early) < LEAST_PAIRS or len(late) < LEAST_PAIRS:
        return
    before, after = np.median([ns for _, ns in early]), np.median(late)
    if after > before * LASTING:
        yield Doubt(
            code="profiling_lingers",
            message="Unprofiled runs are slower once the process has profiled.",
            evidence=f"median of {len(late)} controls {after / before:.1%} of the "
            f"{len(early)} before profiling",
            remedy="take controls in a process of their own "
            "(https://github.com/pytorch/pytorch/issues/146604)",
        )
