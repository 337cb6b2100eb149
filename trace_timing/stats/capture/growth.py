"""How a decode step's latency changes with its position, from controls.

Each control gives one slope, and the interval is Student's t of their mean: runs are independent.
The steps of one run are not, since the host's speed drifts within it. A line through all steps,
with an interval from their scatter, wrongly excluded 0 in 42 to 68 of 100 sets of three recorded
series that do not grow (tests/data/control_series, 63 steps); this one in 2 to 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trace_timing.arrays import FloatArray
from trace_timing.records.runs import ControlTimes
from trace_timing.stats.latency.sample_table import Sample
from trace_timing.stats.latency.times import decode_times
from trace_timing.stats.methods.intervals import LEVEL, Interval
from trace_timing.stats.methods.student import student_quantile
from trace_timing.stats.methods.thinning import thinned
from trace_timing.stats.methods.trend import fit_line
from trace_timing.units import NS_PER_MS

#: Fewest decode steps for a slope.
FEWEST_STEPS = 8
#: Most stretches that steps are put into, each by its median: spikes of the host drop out, and a
#: thousand steps cost no more than a hundred.
STRETCHES = 32
#: Most controls that slopes are taken from, spread over the samples.
MOST_CONTROLS = 400


@dataclass(frozen=True, kw_only=True)
class LatencyGrowth:
    """Change of a decode step's latency from one position to the next, in ms."""

    slope: float
    #: None below three controls: two slopes have no usable spread.
    interval: Interval | None
    controls: int


def latency_growth(samples: Sequence[Sample]) -> LatencyGrowth | None:
    """Mean slope over the controls of samples with measured latency; None without any."""
    controls = [
        control
        for sample in samples
        if sample.latency.source == "control"
        for control in sample.evidence.unprofiled
    ]
    chosen = thinned(controls, MOST_CONTROLS)
    slopes = [slope for control in chosen if (slope := _slope(control)) is not None]
    if not slopes:
        return None
    values = np.array(slopes)
    return LatencyGrowth(
        slope=float(values.mean()), interval=_interval(values), controls=len(values)
    )


def _slope(control: ControlTimes) -> float | None:
    """Theil–Sen slope through the medians of stretches of one control's steps."""
    steps = decode_times(control)
    if len(steps) < FEWEST_STEPS:
        return None
    numbers = np.array(sorted(steps), np.float64)
    times = np.array([steps[int(n)] / NS_PER_MS for n in numbers])
    edges = np.linspace(0, len(numbers), min(STRETCHES, len(numbers)) + 1).astype(int)
    parts = [slice(a, b) for a, b in pairwise(edges)]
    line = fit_line(
        np.array([numbers[part].mean() for part in parts]),
        np.array([np.median(times[part]) for part in parts]),
    )
    return None if line is None else line.slope


def _interval(slopes: FloatArray) -> Interval | None:
    n = len(slopes)
    if n < 3:
        return None
    half = student_quantile(n - 1, (1 + LEVEL) / 2) * slopes.std(ddof=1) / np.sqrt(n)
    return Interval(float(slopes.mean() - half), float(slopes.mean() + half))
