"""Growth by configuration: which columns tell one, and the points of each of their values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.stats.sample_rows import sample, step_table
from trace_timing.report.growth_figures import by_configuration
from trace_timing.stats.growth_groups import ALL, configurations, prefill_groups, step_groups


@pytest.fixture
def samples() -> pd.DataFrame:
    rows = pd.DataFrame([sample(i) for i in range(20)])
    rows["tier"] = ["low", "high"] * 10
    rows["same"] = "x"
    rows["sizes"] = [[i, i] for i in range(20)]
    rows["words"] = np.arange(20) * 10
    for name in ("T_LLM_prefill_lo_ms", "T_LLM_prefill_hi_ms"):
        rows[name] = rows["T_LLM_prefill_ms"] + (1 if "hi" in name else -2)
    return rows


def test_columns_of_few_values_tell_configurations_and_numbers_of_many_become_ranges(
    samples: pd.DataFrame,
) -> None:
    found = configurations(samples.drop(columns="crops"))
    assert list(found) == [ALL, "tier", "words"]
    assert set(found["tier"]) == {"low", "high"}
    assert sorted(found["words"].unique()) == ["0 to 40", "100 to 140", "150 to 190", "50 to 90"]


def test_whole_numbers_that_a_gap_made_floats_read_as_whole(samples: pd.DataFrame) -> None:
    samples["tier"] = [1.0, None] * 5 + [2.0] * 10
    groups = [g.value for g in prefill_groups(samples) if g.column == "tier"]
    assert groups == ["1", "2"], "samples without a value are in no group"


def test_prefill_has_a_point_a_usable_sample_with_its_interval(samples: pd.DataFrame) -> None:
    samples.loc[0, "usable"] = False
    samples.loc[2, "reasons"] = "lost_ops"
    high, low = (g for g in prefill_groups(samples) if g.column == "tier")
    assert (high.value, low.value) == ("high", "low")
    assert (len(high.x), len(low.x)) == (10, 8)
    assert low.y == pytest.approx(10 + 0.02 * low.x)
    assert low.high - low.y == pytest.approx(np.ones(8))
    assert low.y - low.low == pytest.approx(np.full(8, 2))


def test_a_step_has_the_groups_median_at_each_position(samples: pd.DataFrame) -> None:
    steps = step_table(samples)
    slow = steps["sample_id"].isin(samples.loc[samples["tier"] == "high", "sample_id"])
    steps.loc[slow, "latency_ns"] *= 2
    high, low = (g for g in step_groups(samples, steps) if g.column == "tier")
    assert low.x.tolist() == [1, 2, 3]
    assert low.y == pytest.approx(4 + 0.001 * low.x)
    assert high.y == pytest.approx(2 * low.y)
    assert np.isnan(low.low).all(), "these steps have no interval"


def test_traces_without_a_latency_have_no_groups(samples: pd.DataFrame) -> None:
    assert step_groups(samples, step_table(samples, latency=False)) == []
    assert prefill_groups(samples.assign(usable=False)) == []


def test_a_figure_shows_one_column_at_a_time_and_names_the_others(samples: pd.DataFrame) -> None:
    figure = by_configuration(prefill_groups(samples), x="input tokens", lines=False)
    columns = figure.layout.meta["colour_by"]
    assert columns[0] == ALL
    assert {"tier", "words"} <= set(columns)
    assert [trace.visible for trace in figure.data] == [
        trace.meta["colour_by"] == ALL for trace in figure.data
    ]
    (whole,) = [trace for trace in figure.data if trace.meta["colour_by"] == ALL]
    assert whole.error_y.array == pytest.approx(np.ones(20))
    assert whole.error_y.arrayminus == pytest.approx(np.full(20, 2))
