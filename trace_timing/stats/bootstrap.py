"""Intervals by resampling, seeded, so that one input gives one answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trace_timing.units import FloatArray

SEED = 20_240_917
RESAMPLES = 2_000
LEVEL = 0.95

#: Reduces the given axis: `np.median` and its kind.
Statistic = Callable[..., FloatArray]


@dataclass(frozen=True)
class Interval:
    """A confidence interval, in the unit of what it is an interval of."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """High less low."""
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def median(values: FloatArray, axis: int = -1) -> FloatArray:
    """`np.median` under the signature that scipy's bootstrap wants."""
    result: FloatArray = np.median(values, axis=axis)
    return result


def interval(
    values: FloatArray,
    statistic: Statistic = median,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | None:
    """BCa bootstrap interval of a statistic of independent values.

    Args:
        values: shape (n,), finite.
        statistic: takes an array and `axis`, reduces that axis.
    Returns:
        None for fewer than three values, which no resampling can widen honestly. Where BCa is
        undefined (its jackknife is constant: all values equal, or a median of many ties) the
        percentile interval stands in; of equal values it has no width.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 14.3.
    """
    if len(values) < 3:
        return None
    from scipy import stats  # 0.7 s to load, and most analyses of one trace need none of it

    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = stats.bootstrap(
                (values,),
                statistic,
                confidence_level=level,
                n_resamples=resamples,
                method=method,
                random_state=np.random.default_rng(seed),
            ).confidence_interval
        if np.isfinite(found.low) and np.isfinite(found.high):
            break
    return Interval(float(found.low), float(found.high))
