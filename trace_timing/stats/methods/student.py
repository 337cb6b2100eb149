"""Student's t quantiles for whole degrees of freedom.

Own code, since every analysis with controls needs a few of these, and no other part of it needs
scipy.special, which takes a tenth of a small analysis's time to import. Tested against it.
"""

from __future__ import annotations

import math
from functools import lru_cache

#: Most Newton steps; far tails of few degrees of freedom take about 40.
_MOST_STEPS = 200


@lru_cache(maxsize=256)
def student_quantile(freedom: int, probability: float) -> float:
    """The quantile of Student's t at this probability.

    Args:
        freedom: degrees of freedom, 1 or more.
        probability: above 0.5 and below 1.
    Raises:
        ValueError: an argument is outside its range.
    """
    if freedom < 1 or not 0.5 < probability < 1:
        raise ValueError(f"no quantile {probability} of {freedom} degrees of freedom")
    wanted = 2 * probability - 1
    low, high = 0.0, math.pi / 2
    angle = high / 2
    for _ in range(_MOST_STEPS):
        miss = _within(angle, freedom) - wanted
        low, high = (low, angle) if miss > 0 else (angle, high)
        step = miss / _density(angle, freedom)
        # Bisect where Newton's step would leave the bracket.
        following = angle - step if low < angle - step < high else (low + high) / 2
        if abs(following - angle) <= 1e-15 * angle:
            break
        angle = following
    return math.sqrt(freedom) * math.tan(angle)


def _within(angle: float, freedom: int) -> float:
    """P(|T| ≤ t) with t = √freedom · tan(angle).

    Source: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 26.7.3, 26.7.4.
    """
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _density(angle: float, freedom: int) -> float:
    """Derivative of `_within` by the angle."""
    log_beta = math.lgamma(freedom / 2) + math.lgamma(0.5) - math.lgamma((freedom + 1) / 2)
    return 2 * math.exp(-log_beta) * math.cos(angle) ** (freedom - 1)
