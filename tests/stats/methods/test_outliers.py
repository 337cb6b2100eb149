"""What stands out and why: by hand, against scipy, and on a real capture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.paths import SAMPLE_TRACES
from trace_timing.api.analysis.analyze import analyze
from trace_timing.records.runs import ControlTimes, RunRecord
from trace_timing.stats.methods.outliers import causes, find_outliers, mad, outliers


def test_mad_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).lognormal(size=50)
    assert mad(values) == pytest.approx(stats.median_abs_deviation(values))


def test_the_outlier_bound_is_3_5() -> None:
    # MAD 1 around 0: the modified z is 0.6745 x, so 5.19 crosses 3.5 and 5.18 does not.
    values = np.array([-1, -1, 0, 1, 1, 0, 5.18])
    assert not outliers(np.array([-1, -1, 0, 1, 1, 0, 5.18])).any()
    assert outliers(np.where(values == 5.18, 5.20, values)).tolist() == [False] * 6 + [True]
    assert not outliers(np.array([3, 3, 3, 3, 900.0])).any()


def record(i: int, *, mhz: float = 1_900, retries: int = 0) -> RunRecord:
    machine = {
        "before": {"devices": [{"sm_mhz": 1_900, "alloc_retries": 0}]},
        "after": {"devices": [{"sm_mhz": mhz, "alloc_retries": retries}]},
    }
    return RunRecord(sample_id=f"s{i}", role="recorded", repeat=0, ordinal=i, machine=machine)


def test_the_machines_state_names_causes() -> None:
    found = causes([record(0), record(1, mhz=1_700), record(2, retries=1), record(3)])
    assert [found[f"s{i}", 0, 0, "recorded", -1] for i in range(4)] == [
        ("first_run",),
        ("clock_drop",),
        ("allocator",),
        (),
    ]


def test_a_clock_5_percent_below_the_captures_usual_one_is_no_drop_yet() -> None:
    # The median of the five is 2,000 MHz, so the bound is 1,900.
    clocks = (2_000, 2_000, 2_000, 1_900, 1_899)
    found = causes([record(i, mhz=mhz) for i, mhz in enumerate(clocks, 1)])
    assert list(found.values()) == [(), (), (), (), ("clock_drop",)]


def test_growth_of_the_allocator_alone_is_a_cause_and_its_absence_is_none() -> None:
    def grown(before: int, after: int) -> RunRecord:
        machine = {
            when: {"devices": [{"sm_mhz": 1_900, "device_allocs": count}]}
            for when, count in (("before", before), ("after", after))
        }
        return RunRecord(sample_id="s", role="recorded", repeat=0, ordinal=1, machine=machine)

    for before, after, expected in ((3, 4, ("allocator",)), (4, 4, ()), (5, 4, ())):
        assert list(causes([grown(before, after)]).values()) == [expected]


def test_without_a_machines_state_nothing_is_said_of_it() -> None:
    bare = RunRecord(sample_id="s", role="recorded", repeat=0, ordinal=1)
    assert list(causes([bare]).values()) == [()]


def runs(totals: list[float], steps: list[float], **more: Any) -> pd.DataFrame:
    """Controls of one sample."""
    rows = [
        {"sample_id": "s", "repeat": 0, "rank": 0, "role": "control", "index": i}
        | {"T_total_ms": t, "T_decode_per_token_ms": d, "cupti": "never", "bare": False}
        for i, (t, d) in enumerate(zip(totals, steps, strict=True))
    ]
    return pd.DataFrame(rows).assign(**more)


def test_a_control_that_stands_out_is_named_with_its_cause() -> None:
    times = ControlTimes(total_ns=9, index=0)
    slow = RunRecord(sample_id="s", role="control", repeat=0, ordinal=0, control=times)
    (found,) = find_outliers(runs([900.0, 100, 101, 102, 103], [5.0] * 5), [slow])
    assert (found.role, found.time, found.ms, found.median_ms) == (
        "control",
        "T_total_ms",
        900,
        102,
    )
    assert (found.among, found.causes) == ("its sample's", ("first_run",))
    (unexplained,) = find_outliers(runs([900.0, 100, 101, 102, 103], [5.0] * 5))
    assert unexplained.causes == ()


def test_of_four_runs_none_is_said_to_stand_out() -> None:
    assert find_outliers(runs([900.0, 100, 101, 102], [5.0] * 4)) == ()
    assert find_outliers(runs([100.0] * 4, [9.0, 5.0, 5.1, 5.2])) == ()
    (step,) = find_outliers(runs([100.0] * 5, [9.0, 5.0, 5.1, 5.2, 5.3]))
    assert (step.time, step.ms, step.median_ms) == ("T_decode_per_token_ms", 9.0, 5.2)


def test_no_total_of_another_input_stands_out_but_a_slow_step_does() -> None:
    table = runs([1.0, 1.1, 1.2, 1.3, 900], [5.0, 5.1, 5.2, 5.3, 9.0])
    found = find_outliers(table.assign(sample_id=list("abcde")))
    assert [(o.sample_id, o.time, o.among) for o in found] == [
        ("e", "T_decode_per_token_ms", "all")
    ]


def test_where_nothing_is_said_of_hooks_a_run_has_them() -> None:
    table = runs([900.0, 100, 101, 102, 103], [5.0] * 5, bare=None)
    assert [o.ms for o in find_outliers(table)] == [900]


def test_runs_made_under_other_conditions_are_not_held_against_each_other() -> None:
    quick = runs([100.0, 101, 102, 103, 104], [5.0, 5.1, 5.2, 5.3, 5.4])
    slow = {"T_total_ms": 200.0, "T_decode_per_token_ms": 9.0}
    for change in ({"cupti": "attached"}, {"bare": True}, {"role": "recorded", "cupti": None}):
        other = quick.head(1).assign(**slow, **change)
        assert find_outliers(pd.concat([quick, other], ignore_index=True)) == ()
    assert find_outliers(pd.concat([quick, quick.head(1).assign(**slow)], ignore_index=True))


def test_the_machines_state_is_read_from_a_real_capture() -> None:
    analysis = analyze(SAMPLE_TRACES)
    found = causes(analysis.records)
    assert len(found) == len(analysis.records) == 19
    for record in analysis.records:
        index = record.control.index if record.control else -1
        names = found[record.sample_id, 0, 0, record.role, index]
        assert ("first_run" in names) == (record.ordinal == 0)
        # The clocks stayed within 5 %.
        assert "clock_drop" not in names
        before, after = (record.machine[when]["devices"][0] for when in ("before", "after"))
        grew = after["device_allocs"] > before["device_allocs"]
        assert ("allocator" in names) == (grew or after["alloc_retries"] > before["alloc_retries"])


def test_a_first_call_of_a_new_shape_stands_out_in_a_real_capture() -> None:
    found = analyze(SAMPLE_TRACES).statistics.outliers
    assert [(o.sample_id, o.time) for o in found if o.time == "T_total_ms"] == [
        ("long", "T_total_ms")
    ]
    assert not any(o.sample_id == "short" for o in found), "before any profiling is its own kind"
