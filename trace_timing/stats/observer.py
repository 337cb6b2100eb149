"""What profiling did to a capture: its recorded runs against their controls.

Everything is compared in the control's own segments: a recorded run and its controls are cut at the
same boundaries, and held against each other run by run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trace_timing.records import STAGES, VISION_STAGES, ControlTimes, Doubt, RunRecord, Stage
from trace_timing.stats.intervals import Interval, median_interval

#: Of fewer runs than this nothing is said that holds for others.
LEAST_PAIRS = 3
#: Unprofiled runs slower than those before any profiling by more than this are worth a doubt, where
#: this share of the pairs of one such and one later run say so (Mann and Whitney's U as a share).
LASTING = 1.05
LASTING_SHARE = 0.95
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
    """One recorded run and its controls' median, by stage in the control's segments."""

    sample_id: str
    repeat: int
    profiled_ns: Mapping[Stage, int]
    control_ns: Mapping[Stage, int]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Median of a ratio over n runs, and its 95 % interval (None for fewer than six)."""

    median: float
    interval: Interval | None
    runs: int

    def __str__(self) -> str:
        if self.interval is None:
            return f"×{self.median:.3f}"
        return f"×{self.median:.3f} [{self.interval.low:.3f}, {self.interval.high:.3f}]"


@dataclass(frozen=True, kw_only=True)
class GroupEffect:
    """How much profiling stretched one group of stages over a capture."""

    group: str
    #: Profiled ÷ control.
    effect: Ratio


@dataclass(frozen=True, kw_only=True)
class ObserverEffect:
    """The observer effect of a capture, by group, with the sentence that says it."""

    groups: tuple[GroupEffect, ...]
    #: Hooked control ÷ bare control, totals: what hooks and events cost; None without bare ones.
    hooks: Ratio | None
    sentence: str
    doubts: tuple[Doubt, ...]


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Median of pairwise ratios; n pairs, both positive."""
    values = np.asarray(above, np.float64) / np.asarray(below, np.float64)
    return Ratio(
        median=float(np.median(values)), interval=median_interval(values), runs=len(values)
    )


def observer_effect(
    runs: Sequence[ObservedRun], controls: Sequence[RunRecord], profiled_runs: int
) -> ObserverEffect:
    """Hold a capture's recorded runs against its controls.

    Args:
        runs: the profiled runs that have a control.
        controls: every control record of the capture, failed ones too.
        profiled_runs: how many profiled runs there are in all.
    """
    groups = tuple(r for r in (_group(name, runs) for name in GROUPS) if r)
    return ObserverEffect(
        groups=groups,
        hooks=_hooks(controls),
        sentence=_sentence(groups),
        doubts=(
            *_missing_controls(len(runs), profiled_runs, controls),
            *_differing_tokens(controls),
            *_lasting(controls),
        ),
    )


def _hooks(controls: Sequence[RunRecord]) -> Ratio | None:
    """Each bare control against the median of its sample's hooked ones."""
    told = [
        ((c.sample_id, c.control.cupti), c.control)
        for c in controls
        if c.control and c.status == "ok"
    ]
    hooked: dict[tuple[str, str], list[int]] = {}
    for key, control in told:
        if not control.bare:
            hooked.setdefault(key, []).append(control.total_ns)
    bare = [(key, control.total_ns) for key, control in told if control.bare and key in hooked]
    if not bare:
        return None
    return ratio([float(np.median(hooked[s])) for s, _ in bare], [ns for _, ns in bare])


def _group(name: str, runs: Sequence[ObservedRun]) -> GroupEffect | None:
    stages = GROUPS[name]
    pairs = [(_over(r.profiled_ns, stages), _over(r.control_ns, stages)) for r in runs]
    pairs = [pair for pair in pairs if min(pair) > 0]
    if not pairs:
        return None
    profiled, control = zip(*pairs, strict=True)
    return GroupEffect(group=name, effect=ratio(profiled, control))


def _over(times: Mapping[Stage, int], stages: Sequence[Stage]) -> int:
    return sum(times.get(stage, 0) for stage in stages)


def _sentence(groups: Sequence[GroupEffect]) -> str:
    total = next((g for g in groups if g.group == "total"), None)
    if total is None:
        return "No control was taken: what profiling did to these times is not known."
    return f"Profiling made runs {total.effect} as long as their controls."


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
    early = [(s, c.total_ns) for s, c in totals if c.cupti == "never"]
    samples = {s for s, _ in early}
    late = [c.total_ns for s, c in totals if s in samples and c.cupti == "attached"]
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
