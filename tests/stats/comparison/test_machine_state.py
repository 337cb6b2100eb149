"""The state that captures were made in: what the records tell, and what counts as another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from trace_timing.records.runs import ControlTimes, RunRecord
from trace_timing.stats.comparison.machine_state import (
    STATE,
    launch_costs,
    launch_difference,
    launch_shift,
    load_difference,
    state_of_runs,
    state_rows,
)


def control(sample: str, ordinal: int, **before: float | None) -> RunRecord:
    return RunRecord(
        sample_id=sample,
        role="control",
        repeat=0,
        ordinal=ordinal,
        control=ControlTimes(total_ns=1),
        machine={"before": before},
    )


def rows(values: Sequence[float], name: str = "probe_ns") -> pd.DataFrame:
    table = pd.DataFrame({"sample_id": [f"s{i}" for i in range(len(values))]})
    return table.assign(**dict.fromkeys(STATE, np.nan)).assign(**{name: values})


def test_rows_are_those_of_good_controls_in_the_order_made() -> None:
    failed = RunRecord(sample_id="c", role="control", repeat=0, status="failed", reason="x")
    records = [control("b", 7, probe_ns=5.0, load_1m=None), control("a", 3, probe_ns=4.0), failed]
    table = state_rows(records)
    assert table["sample_id"].tolist() == ["a", "b"]
    assert table["probe_ns"].tolist() == [4, 5]
    assert table["load_1m"].isna().all()


def test_a_table_of_runs_tells_the_same_where_it_has_the_columns() -> None:
    runs = rows([5.0, 6.0]).assign(role=["control", "recorded"])
    assert state_of_runs(runs)["probe_ns"].tolist() == [5]
    assert state_of_runs(runs.drop(columns="load_1m")).empty


def test_launch_costs_of_a_sample_are_the_least_or_the_median() -> None:
    table = rows([5.0, 9.0, 6.0, np.nan]).assign(sample_id=["a", "a", "a", "b"])
    assert launch_costs(table, least=True).to_dict() == {"a": 5}
    assert launch_costs(table, least=False).to_dict() == {"a": 6}


def test_the_shift_is_the_log_ratio_of_medians() -> None:
    assert launch_shift([rows([5.0] * 4)], [rows([6.0] * 4)]) == pytest.approx(np.log(1.2))
    assert launch_shift([rows([5.0] * 4)], [rows([])]) is None


def test_launches_differ_beyond_the_limit_and_beyond_what_each_side_shows() -> None:
    steady, slow = rows([5.0] * 8), rows([7.0] * 8)
    found = launch_difference([steady], [slow], 1.15)
    assert found is not None
    assert (found.a, found.b) == (5, 7)
    assert launch_difference([steady], [slow], 1.5) is None
    # A capture that was as slow for a while shows that its machine does such things.
    assert launch_difference([rows([5.0] * 6 + [7.0] * 2)], [slow], 1.15) is None
    # So does another capture of the same side.
    assert launch_difference([steady, slow], [slow], 1.15) is None


def test_pressure_decides_where_it_is_known_and_load_where_not() -> None:
    def busy(name: str, value: float) -> pd.DataFrame:
        return rows([value] * 4, name)

    found = load_difference([busy("psi_cpu_some_10s", 1)], [busy("psi_cpu_some_10s", 30)])
    assert found is not None
    assert str(found) == "psi_cpu_some_10s: 1 and 30"
    assert load_difference([busy("psi_cpu_some_10s", 1)], [busy("psi_cpu_some_10s", 9)]) is None
    assert load_difference([busy("load_1m", 1)], [busy("load_1m", 20)]) is not None
    assert load_difference([busy("load_1m", 1)], [busy("load_1m", 4)]) is None
    quiet = busy("psi_cpu_some_10s", 1).assign(load_1m=1.0)
    loaded = busy("psi_cpu_some_10s", 2).assign(load_1m=20.0)
    assert load_difference([quiet], [loaded]) is None
    assert load_difference([rows([])], [rows([])]) is None
