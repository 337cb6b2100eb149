"""Robust straight lines with intervals: how a time grows with a size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from trace_timing.arrays import FloatArray, IntArray
from trace_timing.stats.methods.intervals import LEVEL, SEED, Interval

#: Most points of which all pairs' slopes are taken (n² of them); of more, a seeded sample.
MOST_POINTS = 2_000


@dataclass(frozen=True, kw_only=True)
class LineFit:
    """y ≈ intercept + slope · x, by Theil and Sen.

    `slope_interval` is None where the points are too few for one at the requested level.
    `spread` is the median absolute residual, in y's unit.
    """

    points: int
    slope: float
    slope_interval: Interval | None
    intercept: float
    spread: float
    level: float = LEVEL

    def at(self, x: float) -> float:
        """The line's y at x."""
        return self.intercept + self.slope * x


def fit_line(x: FloatArray, y: FloatArray, *, level: float = LEVEL) -> LineFit | None:
    """Theil–Sen line: the median of all pairs' slopes; a quarter of the points may be outliers.

    Args:
        x, y: shape (n,); pairs with a NaN are left out.
    Returns:
        None where fewer than three pairs remain or all have the same x.
    Source: P. K. Sen, J. Am. Stat. Assoc. 63 (1968) 1379, for slope and interval. Own code because
    importing scipy.stats takes longer than most analyses.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 3 or np.ptp(x) == 0:
        return None
    if len(x) > MOST_POINTS:
        drawn = np.random.default_rng(SEED).choice(len(x), MOST_POINTS, replace=False)
        x, y = x[drawn], y[drawn]
    slopes = _slopes(x, y)
    slope = float(np.median(slopes))
    # Not median(y) − slope · median(x): that can miss the data where x takes few values.
    intercept = float(np.median(y - slope * x))
    residuals = y - (intercept + slope * x)
    return LineFit(
        points=len(x),
        slope=slope,
        slope_interval=_interval(x, y, slopes, level),
        intercept=intercept,
        spread=float(np.median(np.abs(residuals))),
        level=level,
    )


def _slopes(x: FloatArray, y: FloatArray) -> FloatArray:
    """Slopes of all pairs of points with two different x, sorted."""
    slopes = np.empty(len(x) * (len(x) - 1) // 2)
    filled = 0
    # A point at a time: the indices of all pairs alone would take four times the memory.
    for i in range(len(x) - 1):
        run = x[i + 1 :] - x[i]
        apart = run != 0
        some = (y[i + 1 :] - y[i])[apart] / run[apart]
        slopes[filled : filled + len(some)] = some
        filled += len(some)
    slopes = slopes[:filled]
    slopes.sort()
    return slopes


def _interval(x: FloatArray, y: FloatArray, slopes: FloatArray, level: float) -> Interval | None:
    """Interval of the slope by Kendall's rank correlation."""
    n = len(x)
    # Even the widest interval, over all slopes, misses in 2 of n! orders of the points.
    if n <= 20 and 1 - 2 / math.factorial(n) < level:
        return None
    variance = (_ties(np.array([n])) - _ties(_counts(x)) - _ties(_counts(y))) / 18
    if variance <= 0:  # nearly all values are tied, so the points have hardly an order
        return None
    width = float(NormalDist().inv_cdf((1 + level) / 2)) * math.sqrt(variance)
    last = len(slopes) - 1
    low = max(round((len(slopes) - width) / 2) - 1, 0)
    high = min(round((len(slopes) + width) / 2), last)
    return Interval(float(slopes[low]), float(slopes[high]))


def _counts(values: FloatArray) -> IntArray:
    counts: IntArray = np.unique(values, return_counts=True)[1]
    return counts


def _ties(counts: IntArray) -> float:
    c = counts.astype(np.float64)
    return float((c * (c - 1) * (2 * c + 5)).sum())
