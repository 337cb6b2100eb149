"""Which stage, kind of work or kernel changed from A to B, by how much, how sure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

from trace_timing.errors import UsageError
from trace_timing.stats.comparability import Difference, differences
from trace_timing.stats.compared_figures import (
    Basis,
    Figure,
    Level,
    Tables,
    kernel_figures,
    matched_samples,
    one_sided_kernels,
    stage_figures,
)
from trace_timing.stats.families import ALPHA, shares, weighted_holm
from trace_timing.stats.intervals import LEVEL, Interval
from trace_timing.stats.noise import PairSpread, pair_spreads
from trace_timing.stats.paired import FEWEST, Effect, grouped_effect, paired_effect
from trace_timing.units import FloatArray

Verdict = Literal["faster", "slower", "no difference shown", "cannot tell", "withheld"]
#: Shares of α, fixed before any data. Decode has the largest: it is where wall clocks fail, and
#: with 0.4 a 3 % change among 30 pairs of 4 % spread is found in 85 % of simulated trials (with an
#: even split of the stages' share, in 77 %). The others pay for it with some more pairs.
WEIGHTS: dict[str, float] = {
    "decode": 0.40,
    "total": 0.12,
    "stage": 0.30,
    "minor stage": 0.08,
    "kind": 0.05,
    "kernel": 0.05,
}
#: A change smaller than this does not matter: an interval within it shows no difference.
MARGIN_FRAC = 0.03
POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One verdict. `ratio` is B ÷ A; its interval is at 95 %, the verdict at the family's rate.

    `n` counts pairs, or the runs of the smaller side. `needed` is how many would tell a change of
    the margin; None where the verdict stands or no spread is known. `spread_of` says what the
    spread is of: these pairs (or groups), or runs of one input where the pairs are too few.
    """

    level: Level
    name: str
    a_ms: float
    b_ms: float
    difference_ms: float
    ratio: float
    ratio_interval: Interval | None
    spread_frac: float | None
    spread_of: str
    n: int
    p: float | None
    verdict: Verdict
    needed: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """Everything that compare says; A is the baseline."""

    a: str
    b: str
    basis: Basis
    paired: bool
    samples: int
    alpha: float
    margin_frac: float
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    rows: tuple[ComparedRow, ...]
    #: Kernels, by `stage: name`, that only one side has.
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def compare(
    a: Tables, b: Tables, *, basis: Basis = "latency", margin_frac: float = MARGIN_FRAC
) -> ComparisonResult:
    """Compare B with A, paired by sample where four ids or more match.

    A sample's ranks are reduced to their median first: ranks of one input are not independent
    witnesses. Decode and sampling are per step, so outputs of different length compare.

    Raises:
        UsageError: `basis` is not in both.
    """
    a_samples, b_samples, paired, notes = matched_samples(a.samples, b.samples)
    figures = [*stage_figures(a_samples, b_samples, basis, paired)]
    if not figures:
        raise UsageError(
            f"no {basis} times in both {a.source} and {b.source}",
            remedy="compare another figure: --figure latency",
        )
    if paired:
        figures += kernel_figures((a.kernels, a_samples), (b.kernels, b_samples))
    unlike = differences(
        (a.environment, b.environment), (a.settings, b.settings), (a.samples, b.samples)
    )
    only_a, only_b = one_sided_kernels(a.kernels, b.kernels)
    return ComparisonResult(
        a=a.source,
        b=b.source,
        basis=basis,
        paired=paired,
        samples=a_samples["sample_id"].nunique(),
        alpha=ALPHA,
        margin_frac=margin_frac,
        differences=unlike,
        notes=tuple(notes),
        rows=judge_figures(
            figures,
            paired=paired,
            margin_frac=margin_frac,
            forbidden=unlike,
            # Floors are of windows; busy times hardly vary.
            expected={} if basis == "busy" else pair_spreads(a.noise, b.noise),
        ),
        only_a=only_a,
        only_b=only_b,
    )


def judge_figures(
    figures: Sequence[Figure],
    *,
    paired: bool = True,
    margin_frac: float = MARGIN_FRAC,
    forbidden: Iterable[Difference] = (),
    expected: Mapping[str, PairSpread] | None = None,
) -> tuple[ComparedRow, ...]:
    """A verdict for each figure, the family-wise rate held over all of them together.

    Args:
        forbidden: conditions that differ; some withhold verdicts.
        expected: by figure, what pairs spread by where there are too few to tell.
    """
    effects = [_effect(figure, paired) for figure in figures]
    share = shares([_weight_group(figure) for figure in figures], WEIGHTS)
    p = [1.0 if effect is None else effect.p for effect in effects]
    rejected = weighted_holm(p, share)
    forbidden = tuple(forbidden)
    rows = []
    for figure, effect, hit, part in zip(figures, effects, rejected, share, strict=True):
        reason = _withheld(figure, forbidden)
        alpha = ALPHA * part
        if reason:
            judged = _Judgement("withheld", reason=reason)
        elif effect is None:
            judged = _too_few((expected or {}).get(figure.name), alpha, margin_frac)
        else:
            judged = _judge(effect, bool(hit), alpha, margin_frac)
        rows.append(_row(figure, effect, judged, paired))
    return tuple(rows)


@dataclass(frozen=True)
class _Judgement:
    """What a row says beside its figures."""

    verdict: Verdict
    needed: int | None = None
    reason: str = ""
    #: Of runs of one input, where the pairs are too few for one of their own.
    spread: PairSpread | None = None


def _too_few(spread: PairSpread | None, alpha: float, margin_frac: float) -> _Judgement:
    needed = None if spread is None else pairs_needed(spread.spread, alpha, margin_frac)
    reason = f"too few, {FEWEST} at least on both sides"
    return _Judgement("cannot tell", needed=needed, reason=reason, spread=spread)


def _judge(effect: Effect, rejected: bool, alpha: float, margin_frac: float) -> _Judgement:
    if rejected:
        return _Judgement("slower" if effect.log_ratio > 0 else "faster")
    if _within(effect.interval(1 - 2 * alpha), margin_frac):
        return _Judgement("no difference shown")
    needed = max(pairs_needed(effect.spread, alpha, margin_frac), effect.n + 1)
    return _Judgement("cannot tell", needed=needed)


def _weight_group(figure: Figure) -> str:
    main = figure.level == "stage" and figure.name == "decode"
    return "decode" if main else figure.level


def pairs_needed(spread: float, alpha: float, margin_frac: float = MARGIN_FRAC) -> int:
    """Pairs that find a change of the margin with power 80 % at level `alpha`, two-sided.

    Args:
        spread: standard deviation of a pair's log ratio.
    Source: the usual normal formula; 1/0.955 is the price of ranks on normal data.
    """
    z = float(special.ndtri(POWER) - special.ndtri(alpha / 2))
    return max(FEWEST, math.ceil((z * spread / math.log1p(margin_frac)) ** 2 / 0.955))


def _effect(figure: Figure, paired: bool) -> Effect | None:
    a, b = _sides(figure, paired)
    return paired_effect(a, b) if paired else grouped_effect(a, b)


def _sides(figure: Figure, paired: bool) -> tuple[FloatArray, FloatArray]:
    """What is above zero: of both sides of a pair, or of each side of two groups."""
    a: FloatArray = np.asarray(figure.a, np.float64)
    b: FloatArray = np.asarray(figure.b, np.float64)
    if paired:
        known = (a > 0) & (b > 0)
        return a[known], b[known]
    return a[a > 0], b[b > 0]


def _row(figure: Figure, effect: Effect | None, judged: _Judgement, paired: bool) -> ComparedRow:
    a, b = _middle(figure.a), _middle(figure.b)
    around = effect.interval(LEVEL) if effect else None
    own = effect.spread if effect else None
    return ComparedRow(
        level=figure.level,
        name=figure.name,
        a_ms=a,
        b_ms=b,
        difference_ms=b - a,
        ratio=math.exp(effect.log_ratio) if effect else (b / a if a > 0 else math.nan),
        ratio_interval=Interval(math.exp(around.low), math.exp(around.high)) if around else None,
        spread_frac=judged.spread.spread if judged.spread else own,
        spread_of=f"{judged.spread.of} of one input"
        if judged.spread
        else "these"
        if effect
        else "",
        n=min(map(len, _sides(figure, paired))),
        p=effect.p if effect else None,
        verdict=judged.verdict,
        needed=judged.needed,
        reason=judged.reason,
    )


def _spread_of(effect: Effect | None, expected: PairSpread | None) -> str:
    if expected is not None:
        return f"{expected.of} of one input"
    return "" if effect is None else "these"


def _middle(values: pd.Series[float]) -> float:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if len(known) else math.nan


def _within(interval: Interval, margin_frac: float) -> bool:
    bound = math.log1p(margin_frac)
    return -bound < interval.low and interval.high < bound


def _withheld(figure: Figure, unlike: tuple[Difference, ...]) -> str:
    host_time = figure.level in ("total", "stage", "minor stage")
    for difference in unlike:
        if difference.bearing == "withholds all" or (
            difference.bearing == "withholds host times" and host_time
        ):
            return f"{difference.name} differs: {difference.a} and {difference.b}"
    return ""
