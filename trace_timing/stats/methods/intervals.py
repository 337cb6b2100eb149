"""Confidence intervals of a median, without resampling and without scipy.stats (0.5 s to load)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from trace_timing.arrays import FloatArray

SEED = 20_240_917
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A confidence interval, in the unit of its quantity."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """High less low."""
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def median_interval(values: FloatArray, *, level: float = LEVEL) -> Interval | None:
    """Interval of the median of independent values, whatever their distribution.

    Between order statistics, interpolated so that it covers exactly `level`.

    Args:
        values: shape (n,), finite.
    Returns:
        None where even minimum to maximum covers less than `level`: below six values at 95 %.
    Source: T. P. Hettmansperger and S. J. Sheather, Stat. Probab. Lett. 4 (1986) 75.
    """
    n = len(values)
    if 1 - 2.0 ** (1 - n) < level:
        return None
    ordered = np.sort(values)
    d = _rank(n, level)
    wide, narrow = _covered(d, n), _covered(d + 1, n)
    share = (wide - level) / (wide - narrow)
    weight = (n - d) * share / (d + (n - 2 * d) * share)
    return Interval(
        float((1 - weight) * ordered[d - 1] + weight * ordered[d]),
        float((1 - weight) * ordered[n - d] + weight * ordered[n - d - 1]),
    )


def _covered(d: int, n: int) -> float:
    """Chance that the median lies between the d-th smallest and the d-th greatest of n values."""
    from scipy import special  # takes a tenth of the time of an analysis that needs none of this

    return max(0.0, 1 - 2 * float(special.bdtr(d - 1, n, 0.5)))


def _rank(n: int, level: float) -> int:
    """The greatest d for which `_covered` is `level` or more."""
    d = max(1, math.floor(n / 2 - NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(n) / 2))
    while d > 1 and _covered(d, n) < level:
        d -= 1
    while _covered(d + 1, n) >= level:
        d += 1
    return d
