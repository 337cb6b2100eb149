"""Medians of the few runs that a sample has."""

from __future__ import annotations

import statistics

from trace_timing.arrays import FloatArray


def median(values: FloatArray) -> float:
    """The median of n ≥ 1 finite values, as np.median gives it.

    Of ten values in 0.7 µs, where np.median takes 19: thousands of samples have several each.
    """
    return float(statistics.median(values.tolist()))
