"""How much runs of one input differ: by hand, and on the controls of a real capture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trace_timing.api.analysis import analyze
from trace_timing.records import ControlSegment, ControlTimes, RunRecord
from trace_timing.stats.noise import FEWEST_RUNS, FIGURES, noise_floors, pair_spreads

SAMPLES = Path(__file__).resolve().parents[2] / "sample_traces"


def table(totals: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"sample_id": name, "rank": 0, **{column: ms for column, _ in FIGURES.values()}}
        for name, values in totals.items()
        for ms in values
    ]
    return pd.DataFrame(rows)


def control(index: int, ms: int, **more: bool) -> RunRecord:
    segments = (
        ControlSegment(stage="prefill", step=None, duration_ns=2 * ms * 10**6),
        ControlSegment(stage="decode", step=1, duration_ns=ms * 10**6),
    )
    times = ControlTimes(total_ns=3 * ms * 10**6, segments=segments, index=index, **more)
    return RunRecord(sample_id="a", role="control", repeat=0, control=times)


def test_the_floor_is_the_median_of_mad_over_median() -> None:
    # MAD ÷ median: a has 1 ÷ 10, c has 3 ÷ 10, e has 2 ÷ 10; b has two runs and counts not.
    rows = table({"a": [9, 10, 12], "b": [1, 5], "c": [7, 10, 20], "e": [8, 10, 13]})
    floors = {floor.figure: floor for floor in noise_floors(rows)}
    assert floors["total"].frac == pytest.approx(0.2)
    assert (floors["total"].samples, floors["total"].of) == (3, "profiled runs")
    # 0.2 ÷ 0.6745, and √2 times that between two such runs, by hand.
    assert floors["total"].sigma == pytest.approx(0.29652, abs=1e-5)
    pair = pair_spreads(noise_floors(rows), ())["total"]
    assert (pair.spread, pair.of) == (pytest.approx(0.41933, abs=1e-5), "profiled runs")


def test_controls_stand_in_where_no_run_was_repeated() -> None:
    controls = [control(i, ms) for i, ms in enumerate([9, 10, 12])]
    floors = {floor.figure: floor for floor in noise_floors(table({"a": [500]}), controls)}
    assert set(floors) == {"total", "prefill", "decode"}
    assert floors["decode"].frac == pytest.approx(0.1)
    assert floors["decode"].of == "controls"


def test_bare_controls_and_those_with_cupti_attached_are_other_conditions() -> None:
    controls = [control(0, 9), control(1, 10), control(2, 12, bare=True)]
    assert noise_floors(table({"a": [500]}), controls) == ()
    controls[2] = control(2, 12, cupti="attached")
    assert noise_floors(table({"a": [500]}), controls) == ()


def test_the_sample_traces_tell_it_by_their_controls() -> None:
    analysis = analyze(SAMPLES)
    found = {
        floor.figure: floor.frac for floor in noise_floors(analysis.samples, analysis.controls)
    }
    expected = []
    for name in ("short", "medium", "long"):
        told = [r.control for r in analysis.controls if r.sample_id == name and r.control]
        for cupti in ("never", "detached", "attached"):
            ns = np.array([c.total_ns for c in told if not c.bare and c.cupti == cupti])
            if len(ns) >= FEWEST_RUNS:
                expected.append(np.median(np.abs(ns - np.median(ns))) / np.median(ns))
    assert found["total"] == pytest.approx(np.median(expected))
    assert 0.005 < found["decode"] < 0.1
