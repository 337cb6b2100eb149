"""Growth with size: the lines behind made rows, and scipy's on a real capture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.stats.sample_rows import sample, step_table
from trace_timing.api.analysis import Analysis, analyze
from trace_timing.report.statistics_text import statistics_lines, step_growth
from trace_timing.stats.statistics import scaling_fits, statistics

SAMPLES = Path(__file__).resolve().parents[2] / "sample_traces"


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyze(SAMPLES)


def test_the_lines_behind_the_rows_are_found() -> None:
    samples = pd.DataFrame([sample(i) for i in range(8)])
    found = {(f.of, f.kind, f.against): f.line for f in scaling_fits(samples, step_table(samples))}
    prefill = found["prefill", "latency", "input_tokens"]
    assert (prefill.slope, prefill.intercept) == pytest.approx((0.02, 10))
    step = found["decode step", "latency", "position"]
    assert (step.slope, step.intercept) == pytest.approx((0.001, 4))
    assert not any(kind == "recorded" for _, kind, _ in found), "a latency is there"


def test_recorded_windows_are_drawn_where_there_is_no_latency() -> None:
    samples = pd.DataFrame([sample(i) for i in range(8)]).assign(usable=False)
    steps = step_table(samples, latency=False)
    found = {(f.of, f.kind, f.against): f.line for f in scaling_fits(samples, steps)}
    assert found["prefill", "recorded", "input_tokens"].slope == pytest.approx(0.04)
    assert found["decode step", "recorded", "kv_length"].points == 24
    assert not any(kind == "latency" for _, kind, _ in found)


def test_runs_that_cannot_be_used_bend_no_line() -> None:
    rows = [sample(i) for i in range(8)] + [sample(9, slow=50, reasons="lost_ops")]
    samples = pd.DataFrame(rows)
    found = {(f.of, f.kind, f.against): f.line for f in scaling_fits(samples, step_table(samples))}
    assert found["prefill", "latency", "input_tokens"].points == 8


def test_the_sample_traces_lines_are_scipys(analysis: Analysis) -> None:
    made = statistics(analysis.samples, analysis.runs, analysis.steps, analysis.records)
    found = {(f.of, f.kind, f.against): f.line for f in made.scaling}
    decode = analysis.steps[analysis.steps["stage"] == "decode"]
    decode = decode[decode["recorded"]]  # of `long`, 12 of 127 steps; all 3 and 11 of the others
    x, y = decode["step"].to_numpy(float), decode["busy_ns"].to_numpy(float) / 1e6
    known = stats.theilslopes(y, x, alpha=0.95, method="joint")
    ours = found["decode step", "busy", "position"]
    assert (ours.points, ours.slope) == (26, pytest.approx(known.slope))
    assert ours.slope_interval is not None
    assert (ours.slope_interval.low, ours.slope_interval.high) == pytest.approx(
        (known.low_slope, known.high_slope)
    )
    # Three lengths bear a slope, by the median of three pairs, and no interval of it.
    samples = analysis.samples
    x, y = (samples[c].to_numpy(float) for c in ("input_tokens", "T_LLM_prefill_busy_ms"))
    pairs = [(y[j] - y[i]) / (x[j] - x[i]) for i, j in ((0, 1), (0, 2), (1, 2))]
    prefill = found["prefill", "busy", "input_tokens"]
    assert prefill.slope == pytest.approx(np.median(pairs))
    assert prefill.slope_interval is None


def test_they_are_said_in_a_line_each_and_stand_in_the_summary(analysis: Analysis) -> None:
    noise, repeats, growth, steps, outliers = statistics_lines(analysis.statistics)
    assert noise.startswith("Noise floor: controls of one input differ by 2.2% in total")
    assert repeats.startswith("How many controls a sample: of its total 3 give ± ")
    assert "first: short, T_total_ms 125.39 against 106.05" in outliers
    assert "prefill +12.09 µs an input token (3 points, too few for an interval)" in growth
    assert steps.startswith("A decode step's latency ")
    assert "GPU busy time" in steps
    summary = json.loads(json.dumps(analysis.summary()))
    assert [floor["figure"] for floor in summary["noise_floor"]] == [
        "total",
        "vision",
        "prefill",
        "decode",
    ]
    assert {row["time"] for row in summary["repeats"]} >= {"T_total", "T_decode_per_token"}
    assert {(row["of"], row["time"]) for row in summary["scaling"]} >= {("decode step", "busy")}
    assert len(summary["outliers"]) == len(analysis.statistics.outliers)


def test_one_trace_alone_has_no_noise_floor_and_says_so(h200: Path) -> None:
    analysis = analyze(h200 / "llava_llama1b_user_scope.json.gz")
    assert statistics_lines(analysis.statistics)[0].startswith("Noise floor unknown")


def told(latency: tuple[float, float, float] | None, busy: tuple[float, float, float]) -> str:
    """The sentence of slopes in µs a position, each with the ends of its interval."""
    rows = [
        {"of": "decode step", "against": "position", "time": time, "points": 32}
        | dict(zip(("slope_us", "slope_lo_us", "slope_hi_us"), slope, strict=True))
        for time, slope in (("latency", latency), ("busy", busy))
        if slope is not None
    ]
    return step_growth(rows)


def test_a_host_bound_step_shows_no_growth_and_its_gpu_work_does() -> None:
    assert told((0.3, -1, 1.6), (0.42, 0.4, 0.44)) == (
        "A decode step's latency shows no growth with the cache (+0.30 µs a position, "
        "[-1.00, 1.60]); its GPU busy time grows by +0.42 µs a position [0.40, 0.44] in 32 steps."
    )


def test_of_a_device_bound_step_both_grow_and_whether_they_agree_is_said() -> None:
    assert told((5.1, 4, 6.2), (4.9, 4.8, 5.0)).endswith("in 32 steps; the two agree.")
    assert told((5.1, 4, 6.2), (7.9, 7.8, 8.0)).endswith("in 32 steps; the two differ.")
    assert "grows with the cache by +5.10 µs a position [4.00, 6.20]" in told(
        (5.1, 4, 6.2), (4.9, 4.8, 5.0)
    )


def test_without_controls_or_with_few_only_what_is_known_is_said() -> None:
    assert told(None, (0.42, 0.4, 0.44)).startswith("Its GPU busy time grows")
    few = {"of": "decode step", "against": "position", "time": "latency", "points": 32}
    few |= {"slope_us": 0.5, "slope_lo_us": None, "slope_hi_us": None}
    assert "too few controls for an interval" in step_growth([few])
    assert step_growth([]) == ""
