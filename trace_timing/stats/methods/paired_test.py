"""Effect between A and B of one figure, with p and interval: paired, or between two groups.

On logarithms of ratios: host noise is multiplicative, and logarithms treat faster and slower alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import special

from trace_timing.arrays import FloatArray, IntArray
from trace_timing.stats.methods.intervals import LEVEL, SEED, Interval

#: Fewest pairs for a test of ranks, which is robust to host stalls; below, Student's t, because
#: ranks of n pairs give no p below 2^(1 − n), and a family of verdicts needs smaller ones.
RANKED_FROM = 20
#: Fewest pairs, or values of a group, for a usable spread.
FEWEST = 4
MOST_AVERAGES = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Effect:
    """log(B ÷ A) of one figure: estimate, two-sided p, and the spread of a pair."""

    n: int
    log_ratio: float
    p: float
    #: Standard deviation of one pair's log ratio to which the test's precision corresponds.
    spread: float
    #: Values for the interval: log ratios, their sorted averages, or A's logarithms.
    _values: FloatArray
    _others: FloatArray | None = None
    #: Standard deviation of an error common to all pairs, which more pairs do not average out.
    _drift: float = 0.0

    def with_drift(self, drift: float, freedom: float) -> Effect:
        """The effect with a common error added to p and interval.

        The degrees of freedom of the sum are Satterthwaite's (Biometrics Bulletin 2 (1946) 110).

        Args:
            drift: standard deviation of that error; freedom: its degrees of freedom.
        """
        if not drift or not self.log_ratio:
            return replace(self, _drift=drift)
        own = abs(self.log_ratio) / max(-float(special.ndtri(self.p / 2)), 1e-9)
        error = math.hypot(own, drift)
        p = _two_sided_t(self.log_ratio, error, freedom * (error / drift) ** 4)
        return replace(self, p=p, _drift=drift)

    def interval(self, level: float = LEVEL) -> Interval:
        """Interval of log(B ÷ A) by inverting the test that gave p."""
        own = self._own_interval(level)
        if not self._drift:
            return own
        common = _normal_quantile(level) * self._drift
        return Interval(
            self.log_ratio - math.hypot(self.log_ratio - own.low, common),
            self.log_ratio + math.hypot(own.high - self.log_ratio, common),
        )

    def _own_interval(self, level: float) -> Interval:
        if self._others is not None:
            return _welch_interval(self._values, self._others, level)
        if self.n >= RANKED_FROM:
            return _rank_interval(self._values, self.n, level)
        half = _t_quantile(level, self.n - 1) * self.spread / np.sqrt(self.n)
        return Interval(self.log_ratio - half, self.log_ratio + half)


def paired_effect(a: FloatArray, b: FloatArray) -> Effect | None:
    """Effect of n pairs.

    Args:
        a, b: shape (n,), > 0, the same samples in the same order.
    Returns:
        None below FEWEST pairs. Equal pairs have p = 1.
    Source: F. Wilcoxon, Biometrics Bulletin 1 (1945) 80, zeros after Pratt (1959); estimate and
    interval by Hodges and Lehmann, Ann. Math. Stat. 34 (1963) 598.
    """
    d = np.log(b / a)
    n = len(d)
    if n < FEWEST:
        return None
    if n < RANKED_FROM:
        spread = float(d.std(ddof=1))
        p = _two_sided_t(float(d.mean()), spread / np.sqrt(n), n - 1)
        return Effect(n=n, log_ratio=float(d.mean()), p=p, spread=spread, _values=d)
    averages = _averages(d)
    half = _rank_interval(averages, n, LEVEL).width / 2
    return Effect(
        n=n,
        log_ratio=float(averages[(len(averages) - 1) // 2] + averages[len(averages) // 2]) / 2,
        p=signed_rank_p(d),
        spread=float(half * np.sqrt(n) / _normal_quantile(LEVEL)),
        _values=averages,
    )


def grouped_effect(a: FloatArray, b: FloatArray) -> Effect | None:
    """Effect between two unpaired groups, by Welch's t on logarithms.

    Args:
        a, b: shapes (n,), (m,), > 0.
    Returns:
        None where either has fewer than FEWEST.
    Source: B. L. Welch, Biometrika 34 (1947) 28.
    """
    if min(len(a), len(b)) < FEWEST:
        return None
    x, y = np.log(a), np.log(b)
    difference, error, freedom = _welch(x, y)
    n = min(len(x), len(y))
    return Effect(
        n=n,
        log_ratio=difference,
        p=_two_sided_t(difference, error, freedom),
        spread=float(error * np.sqrt(n)),
        _values=x,
        _others=y,
    )


def signed_rank_p(d: FloatArray) -> float:
    """Two-sided p of the signed-rank test, normal approximation, ties and zeros allowed.

    The variance is that of the signs given the ranks, so ties need no correction. In the far tail
    the approximation is conservative.
    """
    _, place, ties = np.unique(np.abs(d), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place] * (d != 0)
    scale = float(np.sqrt((ranks**2).sum()))
    if scale == 0:
        return 1.0
    return float(2 * special.ndtr(-abs(float((ranks * np.sign(d)).sum())) / scale))


def _averages(d: FloatArray) -> FloatArray:
    """Averages of all pairs of values, sorted; of very many, a seeded sample."""
    n = len(d)
    if n * (n + 1) // 2 > MOST_AVERAGES:
        i, j = np.random.default_rng(SEED).integers(0, n, (2, MOST_AVERAGES))
    else:
        i, j = _pairs_of(n)
    averages: FloatArray = np.sort((d[i] + d[j]) / 2)
    return averages


@lru_cache(maxsize=4)
def _pairs_of(n: int) -> tuple[IntArray, IntArray]:
    # Most figures of one comparison have the same n.
    return np.triu_indices(n)


def _rank_interval(averages: FloatArray, n: int, level: float) -> Interval:
    deviation = np.sqrt(n * (n + 1) * (2 * n + 1) / 24) * _normal_quantile(level)
    tail = min(max(0.5 - deviation / (n * (n + 1) / 2), 0.0), 0.5)
    last = len(averages) - 1
    # Rounded outward to whole averages: an interval may be too wide, never too narrow.
    return Interval(
        float(averages[math.floor(tail * last)]), float(averages[math.ceil((1 - tail) * last)])
    )


def _normal_quantile(level: float) -> float:
    return float(special.ndtri((1 + level) / 2))


def _t_quantile(level: float, freedom: float) -> float:
    # special, not stats: a hundredth of the time, and a family has many verdicts.
    return float(special.stdtrit(freedom, (1 + level) / 2))


def _welch(x: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    u, v = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    difference = float(y.mean() - x.mean())
    if u + v == 0:
        return difference, 0.0, float(min(len(x), len(y)) - 1)
    freedom = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
    return difference, float(np.sqrt(u + v)), freedom


def _welch_interval(x: FloatArray, y: FloatArray, level: float) -> Interval:
    difference, error, freedom = _welch(x, y)
    half = _t_quantile(level, freedom) * error
    return Interval(difference - half, difference + half)


def _two_sided_t(estimate: float, error: float, freedom: float) -> float:
    if error == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * special.stdtr(freedom, -abs(estimate) / error))
