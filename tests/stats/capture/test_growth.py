"""Growth of a step's latency with its position, and that series which do not grow show none."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from tests.paths import DATA
from tests.stats.evidence import capture, control
from trace_timing.arrays import FloatArray
from trace_timing.records.runs import ControlTimes
from trace_timing.records.segments import ControlSegment
from trace_timing.stats.capture.growth import STRETCHES, latency_growth
from trace_timing.stats.latency.sample_table import Sample, samples_of
from trace_timing.units import NS_PER_MS

SERIES = DATA / "control_series"


def timed(steps_ms: Sequence[float], index: int = 0) -> ControlTimes:
    """A control whose decode steps take these times."""
    parts = [
        ControlSegment(stage="decode", step=step, duration_ns=round(ms * NS_PER_MS))
        for step, ms in enumerate(steps_ms, start=1)
    ]
    total = sum(part.duration_ns for part in parts)
    return ControlTimes(total_ns=total, segments=tuple(parts), index=index)


def samples(*controls: ControlTimes) -> tuple[Sample, ...]:
    """One sample with these controls."""
    return samples_of(capture([control(times, tokens=3) for times in controls]), [])


def test_the_slope_is_the_mean_of_the_controls_own() -> None:
    at = np.arange(1, 101)
    growth = latency_growth(samples(*(timed(10 + slope * at) for slope in (0.01, 0.02, 0.03))))
    assert growth is not None
    assert growth.slope == pytest.approx(0.02, abs=1e-6)
    assert growth.interval is not None
    # Student's t of three: 4.303 · 0.01 ÷ √3.
    assert growth.interval.high == pytest.approx(0.02 + 4.3027 * 0.01 / 3**0.5, rel=1e-3)


def test_two_controls_give_a_slope_and_no_interval() -> None:
    growth = latency_growth(samples(*[timed(10 + 0.01 * np.arange(40))] * 2))
    assert growth is not None
    assert (growth.slope, growth.interval) == (pytest.approx(0.01), None)


def test_spikes_of_the_host_bend_no_slope() -> None:
    times = 10 + 0.01 * np.arange(10 * STRETCHES)
    times[::10] += 50
    growth = latency_growth(samples(*[timed(times)] * 3))
    assert growth is not None
    assert growth.slope == pytest.approx(0.01, rel=0.02)


def test_few_steps_and_attached_controls_say_nothing() -> None:
    assert latency_growth(samples(*[timed([10.0] * 7)] * 3)) is None
    assert latency_growth(()) is None


def recorded_series() -> list[FloatArray]:
    """Steps of one process after another: they do not grow, but the host's speed drifts."""
    files = [json.loads(path.read_text()) for path in sorted(SERIES.glob("*.json"))]
    return [np.concatenate([run[1:] for run in one["steps"]]) / NS_PER_MS for one in files]


def test_growth_is_seldom_seen_where_there_is_none() -> None:
    draw, seen, tries = np.random.default_rng(5), 0, 0
    for series in recorded_series():
        for _ in range(25):
            starts = draw.integers(0, len(series) - 63 + 1, 3)
            growth = latency_growth(samples(*(timed(series[a : a + 63]) for a in starts)))
            assert growth is not None
            assert growth.interval is not None
            seen += 0 not in growth.interval
            tries += 1
    assert seen <= 0.1 * tries
