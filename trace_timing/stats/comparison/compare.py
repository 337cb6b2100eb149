"""Compare captures A and B: which stage, kind of work or kernel changed, how much, how surely."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import special

from trace_timing.arrays import FloatArray
from trace_timing.errors import UsageError
from trace_timing.stats.comparison.capture_effect import CaptureEffect, capture_effect
from trace_timing.stats.comparison.comparability import (
    Difference,
    are_unprofiled,
    capture_differences,
    launches_differ_by_cause,
    withholds,
)
from trace_timing.stats.comparison.figures import (
    UNDISTURBED,
    Basis,
    Figure,
    Level,
    Series,
    Tables,
    estimate_notes,
    kernel_figures,
    matched_samples,
    one_sided_kernels,
    stage_figures,
)
from trace_timing.stats.methods.intervals import LEVEL, Interval
from trace_timing.stats.methods.multiple_testing import ALPHA, shares, weighted_holm
from trace_timing.stats.methods.paired_test import FEWEST, Effect, grouped_effect, paired_effect

#: `…, or drift`: from one recording a side, so the difference may be drift of the machine.
Verdict = Literal[
    "faster",
    "slower",
    "faster, or drift",
    "slower, or drift",
    "no difference shown",
    "cannot tell",
    "withheld",
]
#: What n counts, on the smaller side: pairs of samples, runs, captures or recordings of a server.
Unit = Literal["pairs", "runs", "captures", "recordings"]
#: Shares of α, fixed before any data. The undisturbed step has the largest: it is the steadiest
#: figure that shows a change of the host's work. Then decode, the main use of busy times: without
#: the undisturbed step it has 0.38 of α, and a 3 % change among 30 pairs of 4 % spread is found in
#: 84 % of simulated trials.
WEIGHTS: dict[str, float] = {
    UNDISTURBED: 0.35,
    "decode": 0.25,
    "total": 0.08,
    "stage": 0.12,
    "minor stage": 0.03,
    "busy": 0.07,
    "kind": 0.05,
    "kernel": 0.05,
}
#: Changes smaller than this do not matter; an interval within ± this shows no difference.
MARGIN_FRAC = 0.03
POWER = 0.8
#: Share of a difference in launch cost that remains after dividing by launch cost: between idle and
#: loaded captures, 0.3 of it in latencies and 0.1 in undisturbed steps.
LEFT_OF_SHIFT = {UNDISTURBED: 0.1}
LEFT_OF_SHIFT_ELSE = 0.3


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One verdict. `ratio` is B ÷ A; its interval is at 95 %, the verdict at the family's rate.

    `n` counts `unit`s on the smaller side. `needed` is how many would detect a change of the
    margin; None where there is a verdict or no spread is known. `spread_frac` is one unit's.
    `shown_frac` is the change that these captures would detect four times out of five.
    `launch_ratio` is the launch cost of B ÷ A where the ratio is at equal launch cost: a_ms and
    b_ms are as measured, and `ratio` is b_ms ÷ a_ms ÷ `launch_ratio`.
    """

    level: Level
    name: str
    a_ms: float
    b_ms: float
    difference_ms: float
    ratio: float
    ratio_interval: Interval | None
    spread_frac: float | None
    n: int
    unit: Unit
    p: float | None
    verdict: Verdict
    launch_ratio: float | None = None
    needed: int | None = None
    shown_frac: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """Result of a comparison; A is the baseline."""

    a: str
    b: str
    basis: Basis
    paired: bool
    samples: int
    #: Captures of A and of B.
    captures: tuple[int, int]
    alpha: float
    margin_frac: float
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    rows: tuple[ComparedRow, ...]
    #: Kernels, by `stage: name`, that only one side has.
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    #: Samples of captures, or forwards (steps) of servers' traces.
    subject: Literal["samples", "steps"] = "samples"


def compare(
    a: Tables,
    b: Tables,
    *,
    also_a: Sequence[Tables] = (),
    also_b: Sequence[Tables] = (),
    basis: Basis = "latency",
    margin_frac: float = MARGIN_FRAC,
) -> ComparisonResult:
    """Compare B with A, paired by sample where four ids or more match.

    For host times (latencies) the units are captures, for device times samples. A sample's repeats
    are first reduced to their median, since repeats of one input are not independent. Decode and
    sampling are per step, so that outputs of different length can be compared.

    Args:
        also_a, also_b: further captures of each side, which show the drift of host times between
            captures and average over it.
    Raises:
        UsageError: `basis` is not in all of them.
    """
    sides = ([a, *also_a], [b, *also_b])
    a_samples, b_samples, paired, notes = matched_samples(*([t.samples for t in s] for s in sides))
    unlike = capture_differences(*sides, basis)
    known_states = [t.state for t in sides[0]], [t.state for t in sides[1]]
    steady = are_unprofiled([*sides[0], *sides[1]]) and not launches_differ_by_cause(unlike)
    states = known_states if steady else None
    figures = [*stage_figures(a_samples, b_samples, basis, paired, states)]
    if not figures:
        raise _nothing_in_both(a, b, basis)
    if paired:
        kernels = [
            [(t.kernels, rows) for t, rows in zip(side, samples, strict=True)]
            for side, samples in zip(sides, (a_samples, b_samples), strict=True)
        ]
        figures += kernel_figures(*kernels)
    only_a, only_b = one_sided_kernels(*([t.kernels for t in side] for side in sides))
    return ComparisonResult(
        a=a.source,
        b=b.source,
        basis=basis,
        paired=paired,
        samples=a_samples[0]["sample_id"].nunique(),
        captures=(len(sides[0]), len(sides[1])),
        alpha=ALPHA,
        margin_frac=margin_frac,
        differences=unlike,
        notes=(*notes, *estimate_notes([*a_samples, *b_samples])),
        rows=judge_figures(figures, paired=paired, margin_frac=margin_frac, forbidden=unlike),
        only_a=only_a,
        only_b=only_b,
    )


def _nothing_in_both(a: Tables, b: Tables, basis: Basis) -> UsageError:
    return UsageError(
        f"no {basis} times in both {a.source} and {b.source}",
        remedy="compare another figure: --figure latency",
    )


def judge_figures(
    figures: Sequence[Figure],
    *,
    paired: bool = True,
    margin_frac: float = MARGIN_FRAC,
    forbidden: Iterable[Difference] = (),
) -> tuple[ComparedRow, ...]:
    """A verdict for each figure, with the family-wise error rate over all of them.

    Args:
        forbidden: conditions that differ, some of which withhold verdicts.
    """
    effects = [_effect(figure, paired) for figure in figures]
    share = shares([_weight_group(figure) for figure in figures], WEIGHTS)
    forbidden = tuple(forbidden)
    reasons = [_withheld(figure, forbidden) for figure in figures]
    judgements = judge_effects(effects, share, reasons, margin_frac)
    return tuple(
        _row(figure, effect, judged, paired)
        for figure, effect, judged in zip(figures, effects, judgements, strict=True)
    )


def judge_effects(
    effects: Sequence[Effect | CaptureEffect | None],
    share: Sequence[float],
    reasons: Sequence[str],
    margin_frac: float,
) -> list[Judgement]:
    """The verdict on each of n effects.

    Args:
        share: of α for each, fixed before the data.
        reasons: why each verdict is withheld; empty text where it is not.
    """
    p = [
        1.0 if effect is None or reason else effect.p
        for effect, reason in zip(effects, reasons, strict=True)
    ]
    judgements = []
    for effect, hit, part, reason in zip(
        effects, weighted_holm(p, share), share, reasons, strict=True
    ):
        if reason:
            judgements.append(Judgement("withheld", reason=reason))
        elif effect is None:
            why = f"too few, {FEWEST} at least on both sides"
            judgements.append(Judgement("cannot tell", reason=why))
        else:
            judgements.append(_judge(effect, bool(hit), ALPHA * part, margin_frac))
    return judgements


@dataclass(frozen=True)
class Judgement:
    """Verdict of a row, and why."""

    verdict: Verdict
    needed: int | None = None
    shown_frac: float | None = None
    reason: str = ""


_Effect = Effect | CaptureEffect


def _judge(effect: _Effect, rejected: bool, alpha: float, margin_frac: float) -> Judgement:
    """The verdict on one effect."""
    if rejected:
        return Judgement("slower" if effect.log_ratio > 0 else "faster")
    if _within(effect.interval(1 - 2 * alpha), margin_frac):
        return Judgement("no difference shown")
    if isinstance(effect, CaptureEffect):
        return Judgement(
            "cannot tell",
            needed=max(captures_needed(effect.spread, alpha, margin_frac), effect.n + 1),
            shown_frac=math.expm1(effect.shown(alpha, POWER)),
        )
    needed = max(pairs_needed(effect.spread, alpha, margin_frac), effect.n + 1)
    return Judgement("cannot tell", needed=needed)


def _weight_group(figure: Figure) -> str:
    main = figure.level == "stage" and figure.name == "decode"
    return "decode" if main else figure.level


def pairs_needed(spread: float, alpha: float, margin_frac: float = MARGIN_FRAC) -> int:
    """Pairs that find a change of the margin with power 80 % at level `alpha`, two-sided.

    Args:
        spread: standard deviation of a pair's log ratio.
    Source: the usual normal formula; 1/0.955 is the price of ranks on normal data.
    """
    return max(FEWEST, math.ceil(_units_needed(spread, alpha, margin_frac) / 0.955))


def captures_needed(spread: float, alpha: float, margin_frac: float = MARGIN_FRAC) -> int:
    """Captures a side that find a change of the margin with power 80 % at level `alpha`.

    Args:
        spread: standard deviation of one capture's logarithm.
    """
    return max(2, math.ceil(2 * _units_needed(spread, alpha, margin_frac)))


def _units_needed(spread: float, alpha: float, margin_frac: float) -> float:
    z = float(special.ndtri(POWER) - special.ndtri(alpha / 2))
    return (z * spread / math.log1p(margin_frac)) ** 2


def _effect(figure: Figure, paired: bool) -> _Effect | None:
    """The effect of one figure, by the test that its unit needs."""
    if figure.host and figure.drift is not None:
        a, b = _judged_values(figure, paired)
        shift = abs(math.log(_launch_ratio(figure) or 1.0))
        left = LEFT_OF_SHIFT.get(figure.level, LEFT_OF_SHIFT_ELSE)
        return capture_effect(a, b, figure.drift, paired=paired, shift=left * shift)
    left_side, right_side = _sides(figure, paired)
    effect = (paired_effect if paired else grouped_effect)(left_side, right_side)
    if effect is None or figure.drift is None:
        return effect
    captures = 1 / len(figure.a) + 1 / len(figure.b)
    return effect.with_drift(figure.drift.spread * math.sqrt(captures), figure.drift.freedom)


def _judged_values(figure: Figure, paired: bool) -> tuple[list[FloatArray], list[FloatArray]]:
    """Values of each capture, divided by the launch cost before each sample where it is known."""
    a, b = figure.a, figure.b
    if figure.launch_a is not None and figure.launch_b is not None:
        a, b = _per_launch(a, figure.launch_a), _per_launch(b, figure.launch_b)
    if paired:
        ids = a[0].index
        a, b = (tuple(s.reindex(ids) for s in side) for side in (a, b))
    return [_floats(s) for s in a], [_floats(s) for s in b]


def _per_launch(values: Series, costs: Series) -> Series:
    return tuple(v / cost.reindex(v.index) for v, cost in zip(values, costs, strict=True))


def _launch_ratio(figure: Figure) -> float | None:
    if figure.launch_a is None or figure.launch_b is None:
        return None
    left, right = (
        np.mean([np.log(_floats(cost)).mean() for cost in side])
        for side in (figure.launch_a, figure.launch_b)
    )
    return math.exp(float(right - left))


def _sides(figure: Figure, paired: bool) -> tuple[FloatArray, FloatArray]:
    """Positive values of both sides: pairs in which both are positive, or each group's.

    Several captures of a side are averaged by sample, or make one group.
    """
    if paired:
        a, b = (_floats(pd.concat(side, axis=1).mean(axis=1)) for side in (figure.a, figure.b))
        known = (a > 0) & (b > 0)
        return a[known], b[known]
    a, b = (np.concatenate([_floats(s) for s in side]) for side in (figure.a, figure.b))
    return a[a > 0], b[b > 0]


def _row(figure: Figure, effect: _Effect | None, judged: Judgement, paired: bool) -> ComparedRow:
    a, b = _middle(figure.a), _middle(figure.b)
    around = effect.interval(LEVEL) if effect else None
    by_captures = isinstance(effect, CaptureEffect)
    return ComparedRow(
        level=figure.level,
        name=figure.name,
        a_ms=a,
        b_ms=b,
        difference_ms=b - a,
        ratio=math.exp(effect.log_ratio) if effect else (b / a if a > 0 else math.nan),
        ratio_interval=Interval(math.exp(around.low), math.exp(around.high)) if around else None,
        spread_frac=effect.spread if effect else None,
        n=effect.n if effect else min(map(len, _sides(figure, paired))),
        unit="captures" if by_captures else "pairs" if paired else "runs",
        p=effect.p if effect else None,
        verdict=judged.verdict,
        launch_ratio=_launch_ratio(figure),
        needed=judged.needed,
        shown_frac=judged.shown_frac,
        reason=judged.reason,
    )


def _middle(side: Series) -> float:
    known = np.concatenate([_floats(values) for values in side])
    known = known[np.isfinite(known)]
    return float(np.median(known)) if len(known) else math.nan


def _floats(values: pd.Series[Any]) -> FloatArray:
    return np.asarray(values, np.float64)


def _within(interval: Interval, margin_frac: float) -> bool:
    bound = math.log1p(margin_frac)
    return -bound < interval.low and interval.high < bound


def _withheld(figure: Figure, unlike: tuple[Difference, ...]) -> str:
    steadied = figure.level == UNDISTURBED and figure.launch_a is not None
    for difference in unlike:
        if withholds(difference, host=figure.host, steadied=steadied):
            return f"{difference.name} differs: {difference.a} and {difference.b}"
    return ""
