"""When a sample's controls tell its latency precisely enough."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from trace_timing.errors import UsageError
from trace_timing.recording.plan import Enough


def fraction(given: str | float | None) -> float | None:
    """A precision from `3%` or 0.03; None stays None.

    Raises:
        UsageError: no number, or not between 0 and 1.
    """
    if given is None:
        return None
    text = str(given).strip()
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = 0.0
    if not 0 < found < 1:
        raise UsageError(
            f"the precision {given} means nothing",
            remedy="give a share of the total, as 3% or 0.03",
        )
    return found


def enough_for(precision: float) -> Enough:
    """Whether the total's 95 % interval has a half-width below `precision` of its mean.

    The interval is the one that the sample table gives, for a number of controls that was not
    fixed beforehand.
    """
    estimate: Any = importlib.import_module("trace_timing.stats.control_mean")

    def enough(totals_ns: Sequence[int]) -> bool:
        totals = np.asarray(totals_ns, np.float64)
        found = estimate.interval(totals[:, None], totals, pooled=None, sequential=True)
        if found is None:
            return False
        (low,), (high,) = (np.asarray(bound, np.float64) for bound in found)
        (mean,) = estimate.mean(totals[:, None], totals)
        return bool((high - low) / 2 <= precision * mean)

    return enough
