"""A sample's latency: which runs it is made of, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stats.evidence import MS, STAGES, run, times, total_alone
from trace_timing import schema
from trace_timing.records.runs import ControlTimes
from trace_timing.stats.latency.sample_latency import (
    NO_TIMES,
    counted_controls,
    half_width_frac,
    latency_as_recorded,
    latency_of_controls,
    pooled_of,
)


def series(*factors: float) -> list[ControlTimes]:
    return [times(factor=factor, index=i) for i, factor in enumerate(factors)]


def test_the_middle_controls_are_averaged_whole() -> None:
    made = latency_of_controls(series(1, 3, 1.1, 0.5), None)
    assert (made.source, made.controls) == ("control", 4)
    assert made.ns["T_total"] == pytest.approx(105 * MS)
    assert made.ns["T_LLM_decode"] == pytest.approx(63 * MS)
    assert [c.index for c in counted_controls(series(1, 3, 1.1, 0.5))] == [0, 2]


def test_the_interval_holds_the_time_and_its_half_width_is_a_share() -> None:
    made = latency_of_controls(series(0.98, 1, 1.02), None)
    assert made.interval_from == "controls"
    for name in ("T_total", "T_LLM_prefill", "T_decode_per_token", "T_TTFT"):
        low, middle, high = made.lo_ns[name], made.ns[name], made.hi_ns[name]
        assert low is not None
        assert middle is not None
        assert high is not None
        assert low < middle < high
        assert half_width_frac(made, name) == pytest.approx((high - low) / 2 / middle)
    assert made.half_width_frac == half_width_frac(made, "T_total")


def test_below_three_controls_the_interval_is_the_captures_or_none() -> None:
    alone = latency_of_controls(series(1, 1.1), None)
    assert (alone.interval_from, alone.half_width_frac) == (None, None)
    assert set(alone.lo_ns.values()) == {None}
    pooled = pooled_of([series(0.9, 1, 1.1), series(1, 1.02)])
    shared = latency_of_controls(series(1), pooled)
    assert shared.interval_from == "pooled"
    assert shared.half_width_frac is not None
    assert pooled_of([series(1), []]) is None


def test_a_sample_of_one_token_leaves_the_others_spread_of_decode() -> None:
    """It has no decode: what is not there says nothing of how much it varies."""
    no_decode = {s: ms for s, ms in STAGES.items() if s != "decode"}
    short = [times(no_decode, steps=0, factor=f) for f in (1, 1.1)]
    pooled = pooled_of([short, series(0.95, 1.05), series(0.9, 1.1)])
    made = latency_of_controls(series(1), pooled)
    assert made.lo_ns["T_LLM_decode"] is not None
    assert not np.isnan(made.lo_ns["T_LLM_decode"])
    own = latency_of_controls(short, pooled)
    assert own.ns["T_LLM_decode"] is None
    assert own.lo_ns["T_LLM_prefill"] is not None


def test_a_stage_that_one_control_lacks_took_it_no_time() -> None:
    without = {**STAGES, "prefill": 22.0}
    del without["projector"]
    made = latency_of_controls([times(), times(without)], None)
    assert made.ns["T_projector"] == MS
    parts = sum(made.ns[part] or 0 for part in schema.SAMPLE_PARTS)
    assert parts == pytest.approx(made.ns["T_total"])


def test_totals_alone_say_nothing_of_stages() -> None:
    made = latency_of_controls([total_alone(97), total_alone(100), total_alone(103)], None)
    assert made.ns["T_total"] == pytest.approx(100 * MS)
    assert (made.ns["T_rest"], made.reasons) == (None, ("no_stage_times",))
    assert made.half_width_frac is not None


def test_one_attached_control_makes_it_attached() -> None:
    made = latency_of_controls([times(), times(cupti="attached")], None)
    assert (made.source, made.reasons) == ("attached", ("controls_attached",))


def test_an_undisturbed_step_needs_ten_steps() -> None:
    assert latency_of_controls(series(1, 1), None).undisturbed_step_ns is None
    many = [times(steps=9, index=i) for i in range(2)]
    step = latency_of_controls(many, None).undisturbed_step_ns
    assert step == pytest.approx(60 * MS / 9 + 3 * MS / 10, rel=1e-6)


def test_a_recorded_run_alone_lies_between_busy_and_window() -> None:
    made = latency_as_recorded(run().recorded_ns, run().busy_ns)
    assert (made.source, made.reasons) == ("recorded", ("no_control",))
    assert (made.lo_ns["T_total"], made.ns["T_total"]) == pytest.approx((26 * MS, 130 * MS))
    assert made.hi_ns == made.ns
    assert made.interval_from == "busy to recorded"


def test_without_a_device_timeline_nothing_bounds_a_recorded_run() -> None:
    made = latency_as_recorded(run().recorded_ns, dict(NO_TIMES))
    assert (made.interval_from, made.half_width_frac) == (None, None)
    assert set(made.hi_ns.values()) == {None}
