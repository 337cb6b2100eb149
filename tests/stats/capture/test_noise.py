"""How much runs of one input differ: by hand, and on the controls of a real capture."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.paths import SAMPLE_TRACES
from trace_timing.api.analysis.analyze import analyze
from trace_timing.stats.capture.noise import FIGURES, noise_floors


def table(totals: dict[str, list[float]], role: str = "recorded", **more: Any) -> pd.DataFrame:
    """Rows of `runs`: all times of a run the same."""
    given = {"role": role, "rank": 0, "cupti": None, "bare": None, **more}
    rows = [
        {"sample_id": name, **given, **dict.fromkeys(FIGURES.values(), ms)}
        for name, values in totals.items()
        for ms in values
    ]
    return pd.DataFrame(rows)


def controls(values: list[float], **more: Any) -> pd.DataFrame:
    return table({"a": values}, "control", **{"cupti": "never", "bare": False, **more})


def test_the_floor_is_the_median_of_mad_over_median() -> None:
    # MAD ÷ median: a has 1 ÷ 10, c has 3 ÷ 10, e has 2 ÷ 10; b has two runs and counts not.
    rows = table({"a": [9, 10, 12], "b": [1, 5], "c": [7, 10, 20], "e": [8, 10, 13]})
    floors = {floor.figure: floor for floor in noise_floors(rows)}
    assert floors["total"].frac == pytest.approx(0.2)
    assert (floors["total"].samples, floors["total"].of) == (3, "recorded runs")


def test_controls_tell_it_where_there_are_three() -> None:
    rows = pd.concat([controls([9, 10, 12]), table({"a": [500, 600, 900]})])
    rows.loc[rows["role"] == "control", "T_vision_total_ms"] = np.nan
    floors = {floor.figure: floor for floor in noise_floors(rows)}
    assert (floors["decode"].frac, floors["decode"].of) == (pytest.approx(0.1), "controls")
    assert floors["vision"].of == "recorded runs"


def test_bare_and_attached_controls_are_other_conditions() -> None:
    two = controls([9, 10])
    assert noise_floors(pd.concat([two, controls([12], bare=True)])) == ()
    assert noise_floors(pd.concat([two, controls([12], cupti="attached")])) == ()
    assert noise_floors(pd.concat([two, controls([12], cupti="detached")]))


def test_the_sample_traces_tell_it_by_their_controls() -> None:
    analysis = analyze(SAMPLE_TRACES)
    found = {floor.figure: floor.frac for floor in noise_floors(analysis.runs)}
    lines = (SAMPLE_TRACES / "runs.rank0.jsonl").read_text().splitlines()
    totals: dict[str, list[int]] = {}
    for record in map(json.loads, lines):
        if record["control"] and not record["control"]["bare"]:
            totals.setdefault(record["sample_id"], []).append(record["control"]["total_ns"])
    assert {name: len(ns) for name, ns in totals.items()} == {"short": 5, "medium": 5, "long": 5}
    spreads = [stats.median_abs_deviation(ns) / np.median(ns) for ns in totals.values()]
    assert found["total"] == pytest.approx(np.median(spreads))
    assert 0.005 < found["decode"] < 0.1
