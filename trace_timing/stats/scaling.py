"""How a time grows with a size: robust straight lines with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from trace_timing.stats.bootstrap import LEVEL, SEED, Interval
from trace_timing.units import FloatArray

#: All pairs of more points than this would fill memory (n² slopes); a seeded draw stands in.
MOST_POINTS = 2_000


@dataclass(frozen=True, kw_only=True)
class LineFit:
    """y ≈ intercept + slope · x, by Theil and Sen.

    `slope_interval` is None where the points are too few for one at the level asked for.
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
        None where fewer than three pairs remain or all have one x: no line is determined.
    Source: P. K. Sen, J. Am. Stat. Assoc. 63 (1968) 1379, for slope and interval; the intercept
    is the median of y − slope · x, which, unlike median(y) − slope · median(x), stays on the data
    where x takes few values.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 3 or np.ptp(x) == 0:
        return None
    if len(x) > MOST_POINTS:
        drawn = np.random.default_rng(SEED).choice(len(x), MOST_POINTS, replace=False)
        x, y = x[drawn], y[drawn]
    found = stats.theilslopes(y, x, alpha=level, method="joint")
    # The widest interval there is, all slopes, misses in 2 of n! orders of the points: scipy gives
    # it as if it were at the level asked for.
    attainable = len(x) > 20 or 1 - 2 / math.factorial(len(x)) >= level
    residuals = y - (found.intercept + found.slope * x)
    return LineFit(
        points=len(x),
        slope=float(found.slope),
        slope_interval=(
            Interval(float(found.low_slope), float(found.high_slope)) if attainable else None
        ),
        intercept=float(found.intercept),
        spread=float(np.median(np.abs(residuals))),
        level=level,
    )
