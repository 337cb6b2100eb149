"""How controls of one input differ, against hand-computed answers and the intervals given."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.paths import DATA
from trace_timing.arrays import FloatArray
from trace_timing.report.terminal.statistics import statistics_lines
from trace_timing.schema import SAMPLE_TIMES
from trace_timing.stats.capture.repeats import Repeats, controls_for, repeats_of_controls
from trace_timing.stats.capture.statistics import Statistics
from trace_timing.stats.methods.control_mean import PooledSpread, interval, mean, pooled_spread

SERIES = DATA / "control_series"


def run_table(samples: dict[str, list[float]], **changes: Any) -> pd.DataFrame:
    """Controls whose times are all as given, in ms."""
    rows = [
        {"sample_id": name, "rank": 0, "role": "control", "cupti": "never", "bare": False}
        | {f"{time}_ms": total for time in SAMPLE_TIMES}
        for name, totals in samples.items()
        for total in totals
    ]
    return pd.DataFrame(rows).assign(**changes)


def total_of(runs: pd.DataFrame) -> Repeats:
    (found,) = [one for one in repeats_of_controls(runs) if one.time == "T_total"]
    return found


def test_the_spread_is_pooled_within_samples() -> None:
    # Relative variances 0.02 and 0.5, each of one degree of freedom; levels do not matter.
    found = total_of(run_table({"a": [9, 11], "b": [100, 300]}))
    assert (found.samples, found.runs) == (2, 4)
    assert found.cv_frac == pytest.approx(((0.02 + 0.5) / 2) ** 0.5)
    assert found.p95_ratio is None, "no sample has three"


def test_the_tail_is_of_runs_over_their_samples_median() -> None:
    found = total_of(run_table({"a": [10, 10, 20], "b": [1, 1, 1]}))
    ratios = [1, 1, 2, 1, 1, 1]
    assert found.p95_ratio == pytest.approx(np.percentile(ratios, 95))
    assert found.p99_ratio == pytest.approx(np.percentile(ratios, 99))


def test_controls_under_other_conditions_are_no_repeats() -> None:
    for changes in ({"bare": True}, {"cupti": "attached"}, {"role": "recorded"}):
        assert repeats_of_controls(run_table({"a": [1, 2, 3]}, **changes)) == ()
    assert repeats_of_controls(run_table({"a": [1]})) == ()
    assert repeats_of_controls(run_table({"a": [1, 2]})[:0]) == ()


def test_a_stage_that_took_no_time_or_was_not_there_is_left_out() -> None:
    runs = run_table({"a": [1, 2]}, T_vision_total_ms=0.0, T_LLM_decode_ms=None)
    assert {one.time for one in repeats_of_controls(runs)} == (
        set(SAMPLE_TIMES) - {"T_vision_total", "T_LLM_decode"}
    )


def test_the_half_widths_are_those_that_samples_of_a_recorded_series_get() -> None:
    series = json.loads(next(SERIES.glob("*llava-1b*.json")).read_text())
    totals = np.array(series["runs"], float).sum(axis=1) / 1e6
    samples = totals.reshape(-1, 5)
    found = total_of(run_table({f"s{i}": list(row) for i, row in enumerate(samples)}))
    pooled = pooled_spread((row[:, None], row) for row in samples)
    for count in (2, 3, 5):
        halves = [half_width(row[:count], pooled) for row in samples]
        assert found.half_widths[count] == pytest.approx(np.mean(halves), rel=0.25)


def half_width(totals: FloatArray, pooled: PooledSpread | None) -> float:
    ends = interval(totals[:, None], totals, pooled=pooled)
    assert ends is not None
    return float((ends[1] - ends[0])[0] / 2 / mean(totals[:, None], totals)[0])


def test_how_many_controls_a_precision_takes_is_said() -> None:
    noisy = total_of(run_table({f"s{i}": [9.0, 10.0, 11.0] for i in range(5)}))
    assert controls_for(noisy, 0.05) is None
    quiet = total_of(run_table({f"s{i}": [9.9, 10.0, 10.1] for i in range(5)}))
    least = controls_for(quiet, 0.05)
    assert least is not None
    assert quiet.half_widths[least] <= 0.05
    for repeats, word in ((noisy, "more than 30 are needed"), (quiet, f"{least} ")):
        statistics = Statistics(noise_floor=(), scaling=(), outliers=(), repeats=(repeats,))
        line = next(line for line in statistics_lines(statistics) if "How many controls" in line)
        assert word in line
