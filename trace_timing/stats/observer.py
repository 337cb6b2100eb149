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

from trace_timing.records import STAGES, VISION_STAGES, ControlTimes, Doubt, RunRecord, Stage
from trace_timing.stats.bootstrap import Interval, interval
from trace_timing.stats.envelope import undisturbed
from trace_timing.units import NS_PER_MS

Verdict = Literal["good", "imprecise", "off", "cannot_tell", "uncorrected", "too_few"]
#: Fewer pairs than this have no interval.
LEAST_PAIRS = 3
#: No remedy asks for more pairs than this: the machine has to be made quieter instead.
MOST_PAIRS = 500
#: A tenth percentile of fewer steps than this is their minimum.
ENVELOPE_STEPS = 10
#: Unprofiled runs slower than those before any profiling by more than this are worth a doubt, where
#: this share of the pairs of one such and one later run say so (Mann and Whitney's U as a share).
LASTING = 1.05
LASTING_SHARE = 0.95
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
    #: Decode and sampling of each step, of the three alike.
    profiled_steps_ns: Sequence[int] = ()
    corrected_steps_ns: Sequence[int] = ()
    control_steps_ns: Sequence[int] = ()


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
class Undisturbed:
    """A decode step at the host's undisturbed speed, of samples with enough steps on both sides."""

    #: Medians over samples of the lower envelope over steps and repeats.
    profiled_ns: float
    control_ns: float
    corrected_ns: float | None
    samples: int

    @property
    def residual(self) -> float | None:
        """Corrected ÷ control."""
        return self.corrected_ns / self.control_ns if self.corrected_ns else None

    def __str__(self) -> str:
        text = f"{self.control_ns / NS_PER_MS:.2f} ms, profiled {self.profiled_ns / NS_PER_MS:.2f}"
        if self.corrected_ns is None:
            return text
        return f"{text}, corrected {self.corrected_ns / NS_PER_MS:.2f} (×{self.residual:.3f})"


@dataclass(frozen=True, kw_only=True)
class ObserverEffect:
    """The observer effect of a capture, by group, with the sentence that says it."""

    groups: tuple[Residual, ...]
    #: None where no sample has enough steps.
    undisturbed_step: Undisturbed | None
    #: Hooked control ÷ bare control, totals: what hooks and events cost; None without bare ones.
    hooks: Ratio | None
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
    quick = _undisturbed_step(runs)
    sentence = _sentence(groups, corrected=any(r.corrected_ns for r in runs))
    if quick:
        sentence += f" Where nothing disturbs the host, a decode step takes {quick}."
    return ObserverEffect(
        groups=groups,
        undisturbed_step=quick,
        hooks=_hooks(controls),
        sentence=sentence,
        doubts=(
            *_missing_controls(len(runs), profiled_runs, controls),
            *_verdict_doubts(groups),
            *_differing_tokens(controls),
            *_lasting(controls),
        ),
    )


def _undisturbed_step(runs: Sequence[ObservedRun]) -> Undisturbed | None:
    by_sample: dict[str, list[ObservedRun]] = {}
    for run in runs:
        by_sample.setdefault(run.sample_id, []).append(run)
    found = [one for mine in by_sample.values() if (one := _envelopes(mine))]
    if not found:
        return None
    corrected = [c for _, _, c in found if c is not None]
    return Undisturbed(
        profiled_ns=float(np.median([p for p, _, _ in found])),
        control_ns=float(np.median([c for _, c, _ in found])),
        corrected_ns=float(np.median(corrected)) if len(corrected) == len(found) else None,
        samples=len(found),
    )


def _envelopes(runs: Sequence[ObservedRun]) -> tuple[float, float, float | None] | None:
    """Profiled, control and corrected, of one sample's runs."""
    profiled = [ns for run in runs for ns in run.profiled_steps_ns]
    control = [ns for run in runs for ns in run.control_steps_ns]
    if min(len(profiled), len(control)) < ENVELOPE_STEPS:
        return None
    above, below = undisturbed(profiled), undisturbed(control)
    assert above is not None
    assert below is not None
    return above, below, undisturbed([ns for run in runs for ns in run.corrected_steps_ns])


def _hooks(controls: Sequence[RunRecord]) -> Ratio | None:
    """Each bare control against the median of its sample's hooked ones."""
    hooked: dict[str, list[int]] = {}
    for c in controls:
        if c.status == "ok" and c.control and not c.control.bare and not c.control.before_profiling:
            hooked.setdefault(c.sample_id, []).append(c.control.total_ns)
    bare = [
        (c.sample_id, c.control.total_ns)
        for c in controls
        if c.status == "ok" and c.control and c.control.bare and c.sample_id in hooked
    ]
    if not bare:
        return None
    return ratio([float(np.median(hooked[s])) for s, _ in bare], [ns for _, ns in bare])


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


def _missing_controls(paired: int, profiled: int, controls: Sequence[RunRecord]) -> Iterator[Doubt]:
    if paired >= profiled:
        return
    evidence = f"{profiled - paired} of {profiled} runs"
    if any(_total_alone(c.control) for c in controls if c.status == "ok" and c.control):
        yield Doubt(
            code="control_of_totals",
            message="Controls time whole runs alone, as those of a model over several devices do, "
            "so what profiling did to stages is not checked.",
            evidence=evidence,
            remedy="compare `total_ns` of the controls, in runs.rank*.jsonl, with the run's window",
        )
        return
    yield Doubt(
        code="no_control",
        message="Profiled runs have no control, so what profiling did to them is not checked.",
        evidence=evidence,
        remedy="capture with --control 1 or more",
    )


def _total_alone(control: ControlTimes) -> bool:
    return not control.bare and not control.segments


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
    first = np.array([ns for _, ns in early])
    slower = float(np.mean(np.array(late) > first[:, None]))
    before, after = np.median(first), np.median(late)
    if after > before * LASTING and slower >= LASTING_SHARE:
        yield Doubt(
            code="profiling_lingers",
            message="Unprofiled runs are slower once the process has profiled.",
            evidence=f"median of {len(late)} controls {after / before:.1%} of the "
            f"{len(early)} before profiling",
            remedy="take controls in a process of their own "
            "(https://github.com/pytorch/pytorch/issues/146604)",
        )
