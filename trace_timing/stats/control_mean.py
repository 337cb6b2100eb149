"""How long a stage takes, from the controls of one sample: trimmed mean and 95 % interval.

Estimator: of K controls ordered by their total, ⌊K/4⌋ whole runs are left out at each end, and
every column is the mean over the others. Whole runs, so that stages which sum to the total in each
run do so in their means too.

Interval: mean · exp(±c(K) · s), where s² is the relative winsorised variance of the sample's own
controls (J. W. Tukey and D. H. McLaughlin, Sankhyā A 25 (1963) 331), moderated towards the pooled
variance of the capture (G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004) 3): three controls
know little of their own spread. c(K) is not Student's t: consecutive controls share the machine's
state of that moment, so their mean strays further than their spread says, and no K makes that
vanish. It is calibrated on series of controls recorded on GPU machines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import special

from trace_timing.units import FloatArray, IntArray

#: Below this many controls a sample's own spread is not used at all.
FEWEST = 3
#: Degrees of freedom that the pooled variance of the capture counts for.
PRIOR_FREEDOM = 4.0
#: Half-width in standard deviations of one run, by number of controls. Reproduce with
#: `python -m benchmarks.interval_coverage --calibrate`.
MULTIPLIERS: dict[int, float] = {
    1: 6.7, 2: 5.6, 3: 5.4, 4: 5.8, 5: 5.3, 6: 5.0, 8: 5.0, 10: 4.2, 15: 3.4, 20: 3.1, 30: 2.7,
}  # fmt: skip
#: Stopping when the interval is narrow enough favours samples whose spread came out small.
SEQUENTIAL = 1.2


@dataclass(frozen=True)
class PooledSpread:
    """Relative spread of one control run within its sample, pooled over a capture.

    `relative` is a standard deviation ÷ mean, shape (S,), of the columns that were pooled;
    `samples` is how many samples told it.
    """

    relative: FloatArray
    samples: int


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
        pooled: of the capture's samples, the same S columns.
        sequential: controls were added until the interval was narrow enough.
    Returns:
        Lower and upper ends, (…, S) each; None for fewer than three controls without `pooled`.
        Equal values without `pooled` have no width.
    """
    count = totals.shape[-1]
    if not count or (pooled is None and count < FEWEST):
        return None
    spread = np.sqrt(_variance(stages, totals, pooled))
    half = _multiplier(count) * (SEQUENTIAL if sequential else 1.0) * spread
    middle = mean(stages, totals)
    return middle * np.exp(-half), middle * np.exp(half)


def enough(totals_ns: FloatArray, precision: float, pooled: PooledSpread | None = None) -> bool:
    """Whether the total is known to within ± `precision` (a fraction), stopping allowed for."""
    totals = np.asarray(totals_ns, np.float64)
    found = interval(totals[:, None], totals, pooled=pooled, sequential=True)
    if found is None:
        return False
    middle = mean(totals[:, None], totals)[0]
    return bool((found[1][0] - found[0][0]) / 2 <= precision * middle)


def pooled_spread(samples: Iterable[tuple[FloatArray, FloatArray]]) -> PooledSpread | None:
    """Pooled spread within samples; None where no sample has two controls.

    The median of the samples' variances, corrected for what the median of a χ² lacks of its mean,
    so that one sample with a stall does not widen all others.

    Args:
        samples: (stages, totals) of each, with the same columns.
    """
    known = [(s, t) for s, t in samples if len(t) >= 2]
    if not known:
        return None
    scaled = [_own_variance(s, t) / _median_of_chi2(_freedom(len(t))) for s, t in known]
    return PooledSpread(np.sqrt(np.median(scaled, axis=0)), len(known))


def _variance(stages: FloatArray, totals: FloatArray, pooled: PooledSpread | None) -> FloatArray:
    """Relative variance of one run, own and pooled together."""
    count = totals.shape[-1]
    if pooled is None:
        return _own_variance(stages, totals)
    if count < FEWEST:
        return pooled.relative**2
    own, freedom = _own_variance(stages, totals), _freedom(count)
    prior = PRIOR_FREEDOM * pooled.relative**2
    result: FloatArray = (prior + freedom * own) / (PRIOR_FREEDOM + freedom)
    return result


def _own_variance(stages: FloatArray, totals: FloatArray) -> FloatArray:
    """Winsorised sum of squares ÷ (kept − 1), relative to the mean squared; whole runs."""
    middle = kept(totals)
    out = totals.shape[-1] // 4
    low, high = (np.repeat(middle[..., [end]], out, axis=-1) for end in (0, -1))
    values = _rows(stages, np.concatenate([low, middle, high], axis=-1))
    centre = values.mean(axis=-2, keepdims=True)
    squares = ((values - centre) ** 2).sum(axis=-2) / _freedom(totals.shape[-1])
    level = _rows(stages, middle).mean(axis=-2)
    relative: FloatArray = np.divide(
        squares, level**2, out=np.zeros_like(squares), where=level != 0
    )
    return relative


def _rows(stages: FloatArray, at: IntArray) -> FloatArray:
    return np.take_along_axis(stages, at[..., None], axis=-2)


def _freedom(count: int) -> int:
    return count - 2 * (count // 4) - 1


def _median_of_chi2(freedom: int) -> float:
    """Median ÷ mean."""
    return float(2 * special.gammaincinv(freedom / 2, 0.5) / freedom)


def _multiplier(count: int) -> float:
    known = sorted(MULTIPLIERS)
    return float(np.interp(count, known, [MULTIPLIERS[k] for k in known]))
