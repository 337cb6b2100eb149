"""Latency from the controls of one sample: trimmed mean and 95 % interval.

Estimator: of K controls ordered by their total, ⌊K/4⌋ whole runs are left out at each end, and
every column is the mean over the others. Whole runs, so that stages which sum to the total in each
run do so in their means too.

Interval: mean · exp(± c(K) · s). s² is the relative winsorised variance of the sample's own
controls (J. W. Tukey and D. H. McLaughlin, Sankhyā A 25 (1963) 331), moderated towards the pooled
variance of the capture (G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004) 3), because three
controls show little of their own spread. c(K) is calibrated and no Student's t: consecutive
controls share the machine's state (lag-1 correlation 0.3 to 0.8 in recorded series), so their mean
varies more than their spread suggests, whatever K.

The interval covers the limit of the same estimator as the same process makes ever more controls. It
does not include differences between processes: compare captures for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from trace_timing.arrays import FloatArray, IntArray
from trace_timing.stats.methods.intervals import LEVEL
from trace_timing.stats.methods.student import student_quantile

#: Fewest controls for a sample's own spread to be used.
FEWEST = 3
#: Most degrees of freedom that a capture's pooled variance counts for.
PRIOR_FREEDOM = 8
#: Share of the samples with the widest spread that is left out of the pooled spread: a stall may be
#: ten runs long.
LEFT_OUT = 0.05
#: Number of controls → half-width in standard deviations of one run; interpolated between them,
#: constant beyond the last. `python -m benchmarks.interval_coverage --calibrate` prints the 95 %
#: quantiles over recorded series from which they are taken. Four series recorded later, on other
#: hosts, were covered in 94 to 99 % up to 30 controls.
MULTIPLIERS: dict[int, float] = {
    1: 4.5, 2: 4.25, 3: 3.25, 4: 3.25, 5: 3.1, 7: 2.85, 12: 2.75, 20: 2.5, 30: 2.1,
}  # fmt: skip


@dataclass(frozen=True)
class PooledSpread:
    """Relative spread of one control within its sample, pooled over a capture.

    `relative` is a standard deviation ÷ mean, shape (S,), of the columns that were pooled;
    `freedom` its degrees of freedom.
    """

    relative: FloatArray
    freedom: int


def kept(totals: FloatArray | IntArray) -> IntArray:
    """Indices of the middle controls, ordered by total: ⌊K/4⌋ are left out at each end.

    Args:
        totals: (…, K); here and below, leading axes are samples done at once.
    """
    order = np.argsort(totals, axis=-1, kind="stable")
    count = totals.shape[-1]
    return order[..., count // 4 : count - count // 4]


def mean(stages: FloatArray, totals: FloatArray) -> FloatArray:
    """Mean of each column over the kept controls.

    Args:
        stages: (…, K, S), any unit; totals: (…, K), what the runs are ordered by.
    Returns:
        (…, S).
    """
    result: FloatArray = _rows(stages, kept(totals)).mean(axis=-2)
    return result


def interval(
    stages: FloatArray,
    totals: FloatArray,
    *,
    pooled: PooledSpread | None = None,
    sequential: bool = False,
) -> tuple[FloatArray, FloatArray] | None:
    """95 % interval of each column's long-run value.

    Args:
        stages: (…, K, S), in the order made; totals: (…, K).
        pooled: the capture's pooled spread of the same S columns.
        sequential: controls were added until the interval was narrow enough. With `pooled` that
            needs no wider interval (measured by the same benchmark). Without it, stopping selects
            samples whose few controls agree by chance, so there is no interval.
    Returns:
        Lower and upper ends, (…, S) each; None without `pooled` for fewer than three controls or
        `sequential` ones. Equal values without `pooled` have no width.
    """
    count = totals.shape[-1]
    if not count or (pooled is None and (sequential or count < FEWEST)):
        return None
    half = multiplier(count, pooled) * spread(stages, totals, pooled)
    middle = mean(stages, totals)
    return middle * np.exp(-half), middle * np.exp(half)


def enough(totals_ns: FloatArray, precision: float, pooled: PooledSpread | None = None) -> bool:
    """Whether the total is known to within ± `precision` (a fraction), for sequential stopping.

    Args:
        totals_ns: (K,).
        pooled: spread of the totals, one column, from the samples done so far. Without it the
            answer is no: the first sample gets as many controls as are allowed.
    """
    totals = np.asarray(totals_ns, np.float64)
    ends = interval(totals[:, None], totals, pooled=pooled, sequential=True)
    if ends is None:
        return False
    low, high = ends
    return bool((high - low)[0] / 2 <= precision * mean(totals[:, None], totals)[0])


def pooled_spread(samples: Iterable[tuple[FloatArray, FloatArray]]) -> PooledSpread | None:
    """Pooled spread within samples; None where no sample has two controls.

    The mean of the samples' variances and not their median, since occasional disturbances show in
    few samples. Of 20 samples or more the widest are left out, column by column.

    Args:
        samples: (stages, totals) of each, (K, S) and (K,), with the same columns; NaN in columns
            that a sample lacks (decode after one token), which it then does not count in.
    """
    known = [stages for stages, totals in samples if len(totals) >= 2]
    if not known:
        return None
    variance = np.array([_plain_variance(stages) for stages in known])
    freedom = np.broadcast_to(np.array([len(s) - 1.0 for s in known])[:, None], variance.shape)
    least = np.argsort(variance, axis=0, kind="stable")  # NaN last
    variance, freedom = (np.take_along_axis(a, least, axis=0) for a in (variance, freedom))
    have = (~np.isnan(variance)).sum(axis=0)
    if not have.any():
        return None
    chosen = np.arange(len(known))[:, None] < have - (have * LEFT_OUT).astype(np.int64)
    weight = np.where(chosen, freedom, 0)
    squares = np.where(chosen, variance, 0) * weight
    total = weight.sum(axis=0)
    relative = np.sqrt(np.divide(squares.sum(axis=0), total, where=have > 0, out=total * np.nan))
    return PooledSpread(relative, int(total[have > 0].min()))


def spread(stages: FloatArray, totals: FloatArray, pooled: PooledSpread | None) -> FloatArray:
    """Relative standard deviation of one run, its own moderated by the pooled one; (…, S)."""
    count = totals.shape[-1]
    if pooled is None:
        return np.sqrt(np.maximum(_own_variance(stages, totals), _plain_variance(stages)))
    shared = pooled.relative**2
    if count < FEWEST:
        shape = (*totals.shape[:-1], stages.shape[-1])
        return np.sqrt(np.broadcast_to(shared, shape))
    prior, own = min(PRIOR_FREEDOM, pooled.freedom), _freedom(count)
    variance = (prior * shared + own * _own_variance(stages, totals)) / (prior + own)
    return np.sqrt(variance)


def multiplier(count: int, pooled: PooledSpread | None) -> float:
    """Half-width in standard deviations of one run.

    The table assumes a capture's pooled spread; with fewer degrees of freedom it is widened by the
    ratio of Student's quantiles.
    """
    known = sorted(MULTIPLIERS)
    table = float(np.interp(count, known, [MULTIPLIERS[k] for k in known]))
    own = _freedom(count) if count >= FEWEST else 0
    prior = 0 if pooled is None else min(PRIOR_FREEDOM, pooled.freedom)
    here, there = (student_quantile(own + n, (1 + LEVEL) / 2) for n in (prior, PRIOR_FREEDOM))
    return table * here / there


def _own_variance(stages: FloatArray, totals: FloatArray) -> FloatArray:
    """Winsorised sum of squares ÷ (kept − 1), relative to the mean squared; whole runs."""
    middle = kept(totals)
    out = totals.shape[-1] // 4
    low, high = (np.repeat(middle[..., [end]], out, axis=-1) for end in (0, -1))
    values = _rows(stages, np.concatenate([low, middle, high], axis=-1))
    centre = values.mean(axis=-2, keepdims=True)
    squares = ((values - centre) ** 2).sum(axis=-2) / _freedom(totals.shape[-1])
    return _relative(squares, _rows(stages, middle).mean(axis=-2))


def _plain_variance(stages: FloatArray) -> FloatArray:
    return _relative(stages.var(axis=-2, ddof=1), stages.mean(axis=-2))


def _relative(variance: FloatArray, level: FloatArray) -> FloatArray:
    """Variance ÷ level²; 0 for a column that is all zero."""
    result: FloatArray = np.divide(
        variance, level**2, out=np.zeros_like(variance), where=level != 0
    )
    return result


def _rows(stages: FloatArray, at: IntArray) -> FloatArray:
    return np.take_along_axis(stages, at[..., None], axis=-2)


def _freedom(count: int) -> int:
    return count - 2 * (count // 4) - 1
