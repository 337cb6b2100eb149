"""Which stage, kind of work or kernel changed from A to B, by how much, how sure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import special

from trace_timing.errors import UsageError
from trace_timing.records import NUMBERED_STAGES
from trace_timing.stats.bootstrap import LEVEL, Interval
from trace_timing.stats.comparability import Difference, differences
from trace_timing.stats.families import ALPHA, shares, weighted_holm
from trace_timing.stats.paired import FEWEST, Effect, grouped_effect, paired_effect
from trace_timing.timeline.kinds import kind_of_copy, kind_of_kernel
from trace_timing.units import NS_PER_MS, FloatArray

Verdict = Literal["faster", "slower", "no difference shown", "cannot tell", "withheld"]
Level = Literal["total", "stage", "minor stage", "kind", "kernel"]
Basis = Literal["window", "busy", "corrected"]

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
#: Kernels that get a verdict: those with the most time in A and B together.
MOST_KERNELS = 30
MAIN_STAGES = {"vision": "T_vision_total", "prefill": "T_LLM_prefill", "decode": "T_LLM_decode"}
MINOR_STAGES = {
    "vision_encoder": "T_vision_encoder",
    "projector": "T_projector",
    "sampling": "T_sampling",
    "rest": "T_rest",
}


@dataclass(frozen=True)
class Tables:
    """What a comparison needs of one side: schema.SAMPLES and KERNELS, and the conditions."""

    source: str
    samples: pd.DataFrame
    kernels: pd.DataFrame
    environment: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One quantity of both sides: a and b in ms, index sample_id (paired) or anything (not)."""

    level: Level
    name: str
    a: pd.Series[float]
    b: pd.Series[float]


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One verdict. `ratio` is B ÷ A; its interval is at 95 %, the verdict at the family's rate.

    `n` counts pairs, or the runs of the smaller side. `needed` is how many would tell a change of
    the margin; None where the verdict stands or the spread is unknown.
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
    a: Tables, b: Tables, *, basis: Basis = "window", margin_frac: float = MARGIN_FRAC
) -> ComparisonResult:
    """Compare B with A, paired by sample where four ids or more match.

    A sample's repeats are reduced to their median first: repeats of one input are not independent
    witnesses. Decode and sampling are per step, so outputs of different length compare.

    Raises:
        UsageError: `basis` is not in both.
    """
    a_samples, b_samples, paired, notes = _matched(a.samples, b.samples)
    figures = [*_stage_figures(a_samples, b_samples, basis, paired)]
    if not figures:
        raise UsageError(
            f"no {basis} times in both {a.source} and {b.source}",
            remedy="compare another figure: --figure window",
        )
    if paired:
        figures += _kernel_figures((a.kernels, a_samples), (b.kernels, b_samples))
    unlike = differences(
        (a.environment, b.environment), (a.settings, b.settings), (a.samples, b.samples)
    )
    only_a, only_b = _one_sided(a.kernels, b.kernels)
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
        rows=judge_figures(figures, paired=paired, margin_frac=margin_frac, forbidden=unlike),
        only_a=only_a,
        only_b=only_b,
    )


def judge_figures(
    figures: Sequence[Figure],
    *,
    paired: bool = True,
    margin_frac: float = MARGIN_FRAC,
    forbidden: Iterable[Difference] = (),
) -> tuple[ComparedRow, ...]:
    """A verdict for each figure, the family-wise rate held over all of them together."""
    effects = [_effect(figure, paired) for figure in figures]
    share = shares([_weight_group(figure) for figure in figures], WEIGHTS)
    p = [1.0 if effect is None else effect.p for effect in effects]
    rejected = weighted_holm(p, share)
    forbidden = tuple(forbidden)
    return tuple(
        _row(figure, effect, bool(hit), ALPHA * part, margin_frac, _withheld(figure, forbidden))
        for figure, effect, hit, part in zip(figures, effects, rejected, share, strict=True)
    )


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
    a: FloatArray = np.asarray(figure.a, np.float64)
    b: FloatArray = np.asarray(figure.b, np.float64)
    if paired:
        known = (a > 0) & (b > 0)
        return paired_effect(a[known], b[known])
    return grouped_effect(a[a > 0], b[b > 0])


def _row(
    figure: Figure,
    effect: Effect | None,
    rejected: bool,
    alpha: float,
    margin_frac: float,
    withheld: str,
) -> ComparedRow:
    a, b = _middle(figure.a), _middle(figure.b)
    verdict: Verdict = "cannot tell"
    needed, reason = None, withheld
    if withheld:
        verdict = "withheld"
    elif effect is None:
        reason = f"fewer than {FEWEST} values above zero on both sides"
    elif rejected:
        verdict = "slower" if effect.log_ratio > 0 else "faster"
    elif _within(effect.interval(1 - 2 * alpha), margin_frac):
        verdict = "no difference shown"
    else:
        needed = max(pairs_needed(effect.spread, alpha, margin_frac), effect.n + 1)
    around = effect.interval(LEVEL) if effect else None
    return ComparedRow(
        level=figure.level,
        name=figure.name,
        a_ms=a,
        b_ms=b,
        difference_ms=b - a,
        ratio=math.exp(effect.log_ratio) if effect else (b / a if a > 0 else math.nan),
        ratio_interval=Interval(math.exp(around.low), math.exp(around.high)) if around else None,
        spread_frac=effect.spread if effect else None,
        n=effect.n if effect else 0,
        p=effect.p if effect else None,
        verdict=verdict,
        needed=needed,
        reason=reason,
    )


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


def _matched(
    a: pd.DataFrame, b: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, bool, list[str]]:
    common = set(a["sample_id"].dropna()) & set(b["sample_id"].dropna())
    notes = []
    unlike = _other_inputs(a, b, common)
    if unlike:
        notes.append(f"{len(unlike)} ids stand for inputs of different length and are left out")
    common -= unlike
    if len(common) < FEWEST:
        notes.append(
            f"{len(common)} ids match, too few to pair: the runs of both sides are compared as "
            "groups, so differences between inputs count as noise"
        )
        return a, b, False, notes
    for side, table in (("A", a), ("B", b)):
        alone = table["sample_id"].nunique() - len(common) - len(unlike)
        if alone:
            notes.append(f"{alone} samples of {side} have no partner and are left out")
    return (
        a[a["sample_id"].isin(common)],
        b[b["sample_id"].isin(common)],
        True,
        notes,
    )


def _other_inputs(a: pd.DataFrame, b: pd.DataFrame, common: set[str]) -> set[str]:
    lengths = [t.groupby("sample_id")["input_tokens"].median() for t in (a, b)]
    return {
        i
        for i in common
        if pd.notna(lengths[0][i]) and pd.notna(lengths[1][i]) and lengths[0][i] != lengths[1][i]
    }


def _stage_figures(
    a: pd.DataFrame, b: pd.DataFrame, basis: Basis, paired: bool
) -> Iterable[Figure]:
    levels: list[tuple[Level, Mapping[str, str]]] = [
        ("total", {"total": "T_total"}),
        ("stage", MAIN_STAGES),
        ("minor stage", MINOR_STAGES),
    ]
    suffix = "_ms" if basis == "window" else f"_{basis}_ms"
    steps = [_by_sample(t, t["decode_steps"].astype(float), paired) for t in (a, b)]
    for level, names in levels:
        for name, time in names.items():
            sides = []
            for table in (a, b):
                values = table[time + suffix].astype(float)
                if name in NUMBERED_STAGES:
                    values = values / (table["decode_steps"].astype(float) + (name == "sampling"))
                    values = values.replace([np.inf, -np.inf], np.nan)
                sides.append(_by_sample(table, values, paired))
            left, right = sides
            if not (left.notna().any() and right.notna().any()):
                continue
            if level == "total" and paired:
                # The total of more steps is no slower total: such pairs have none to compare.
                left, right = left.where(steps[0] == steps[1]), right.where(steps[0] == steps[1])
            yield Figure(level, name, left, right)


def _by_sample(table: pd.DataFrame, values: pd.Series[Any], paired: bool) -> pd.Series[Any]:
    if not paired:
        return values.dropna()
    return values.groupby(table["sample_id"]).median().sort_index()


def _kernel_figures(
    a: tuple[pd.DataFrame, pd.DataFrame], b: tuple[pd.DataFrame, pd.DataFrame]
) -> list[Figure]:
    tables = [_per_step(kernels, samples) for kernels, samples in (a, b)]
    figures = []
    levels: tuple[Level, ...] = ("kind", "kernel")
    for level in levels:
        wide = [_wide(table, level) for table in tables]
        ids = wide[0].index.intersection(wide[1].index)
        both = wide[0].columns.intersection(wide[1].columns)
        weight = wide[0][both].sum() + wide[1][both].sum()
        chosen = weight.sort_values(ascending=False).index[:MOST_KERNELS]
        for name in chosen:
            pair = [table.loc[ids, name] for table in wide]
            figures.append(Figure(level, str(name), pair[0], pair[1]))
    return figures


def _per_step(kernels: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Kernel rows of matched samples with `kind`, `kernel` and `ms` (per step where numbered)."""
    key = ["sample_id", "repeat", "rank"]
    table = kernels.merge(samples[[*key, "decode_steps"]], on=key)
    steps = table["decode_steps"].astype(float)
    divisor = np.select(
        [table["stage"] == "decode", table["stage"] == "sampling"], [steps, steps + 1], 1.0
    )
    table["ms"] = (
        table["total_ns"].astype(float) / NS_PER_MS / np.where(divisor > 0, divisor, np.nan)
    )
    kinds = {pair: _kind(*pair) for pair in set(zip(table["op"], table["name"], strict=True))}
    named = [kinds[pair] for pair in zip(table["op"], table["name"], strict=True)]
    table["kind"] = table["stage"] + ": " + pd.Series(named, index=table.index, dtype=object)
    table["kernel"] = table["stage"] + ": " + table["name"]
    return table


def _kind(op: str, name: str) -> str:
    if op == "memset":
        return op
    return kind_of_kernel(name) if op == "kernel" else kind_of_copy(name)


def _wide(table: pd.DataFrame, by: str) -> pd.DataFrame:
    runs = table.groupby(["sample_id", "repeat", "rank", by])["ms"].sum(min_count=1)
    return runs.groupby(["sample_id", by]).median().unstack(by)


def _one_sided(a: pd.DataFrame, b: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    left, right = (
        {f"{s}: {n}" for s, n in zip(t["stage"], t["name"], strict=True)} for t in (a, b)
    )
    return tuple(sorted(left - right)), tuple(sorted(right - left))
