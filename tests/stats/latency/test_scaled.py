"""Latencies from recorded windows: factors, intervals and their bound, by hand."""

from __future__ import annotations

from math import exp, log, sqrt

import pytest
from scipy import stats

from trace_timing.stats.latency.sample_latency import NO_TIMES, Latency
from trace_timing.stats.latency.scaled import (
    BOUND_FRAC,
    MOST,
    Cut,
    fit_scale,
    scaled_by_total,
    scaled_latency,
)


def cut(prefill: float, decode: float, *, steps: int = 2, ttft: float | None = None) -> Cut:
    return Cut(by_stage={"prefill": prefill, "decode": decode}, steps=steps, ttft_ns=ttft)


def test_a_stage_is_its_recorded_window_times_the_median_factor() -> None:
    pairs = [(cut(100, 200), cut(80, 100)), (cut(100, 200), cut(90, 110))]
    pairs.append((cut(100, 200), cut(70, 120)))
    scale = fit_scale(pairs)
    assert scale is not None
    assert scale.factors == {"prefill": 0.8, "decode": 0.55}
    latency = scaled_latency(cut(1000, 400), scale)
    assert latency.source == "scaled"
    assert latency.ns["T_LLM_prefill"] == pytest.approx(800)
    assert latency.ns["T_LLM_decode"] == pytest.approx(220)
    assert latency.ns["T_total"] == pytest.approx(1020)
    assert latency.ns["T_decode_per_token"] == pytest.approx(110)


def test_the_interval_is_how_far_samples_left_out_were_from_their_prediction() -> None:
    controls = (80.0, 84.0, 76.0, 80.0)
    scale = fit_scale([(cut(100, 0), cut(c, 0)) for c in controls])
    assert scale is not None
    medians = (80.0, 80.0, 80.0, 80.0)
    errors = [log(c / m) for c, m in zip(controls, medians, strict=True)]
    spread = sqrt(sum(e * e for e in errors) / 3)
    half = stats.t.ppf(0.975, 3) * spread * sqrt(1 + 1 / 4)
    assert scale.half_log["T_total"] == pytest.approx(half)
    latency = scaled_latency(cut(200, 0), scale)
    assert latency.hi_ns["T_total"] == pytest.approx(160 * exp(half))
    assert latency.lo_ns["T_total"] == pytest.approx(160 * exp(-half))


def test_of_many_samples_all_settings_that_take_turns_count() -> None:
    period = 402 // MOST + 1
    pairs = [(cut(100, 0), cut((50, 80, 100)[i % 3], 0)) for i in range(402)]
    assert period == 3
    scale = fit_scale(pairs)
    assert scale is not None
    assert scale.samples == MOST
    assert scale.factors["prefill"] == pytest.approx(0.8)


def test_of_a_run_of_another_length_decode_and_sampling_are_taken_to_the_same_length() -> None:
    recorded = Cut(by_stage={"prefill": 100, "decode": 200, "sampling": 30}, steps=2)
    control = Cut(by_stage={"prefill": 80, "decode": 400, "sampling": 50}, steps=4)
    scale = fit_scale([(recorded, control)])
    assert scale is not None
    # Four steps in 400 are two in 200; five samplings in 50 are three in 30.
    assert scale.factors == {"prefill": 0.8, "decode": 1.0, "sampling": 1.0}


@pytest.mark.parametrize(
    "control",
    [
        Cut(by_stage={"prefill": 80}, steps=4),
        Cut(by_stage={"prefill": 80, "decode": 10}, steps=0),
        Cut(by_stage={"prefill": 80}, steps=0),
    ],
)
def test_a_run_without_steps_or_without_their_time_is_left_as_it_is(control: Cut) -> None:
    scale = fit_scale([(cut(100, 200), control)])
    assert scale is not None
    assert scale.factors["prefill"] == 0.8


def test_two_samples_with_both_give_factors_and_no_interval_so_no_label() -> None:
    scale = fit_scale([(cut(100, 10), cut(80, 8))] * 2)
    assert scale is not None
    latency = scaled_latency(cut(100, 10), scale)
    assert latency.lo_ns["T_total"] is None
    assert latency.reasons == ("scaled_without_interval",)


def test_a_wide_interval_is_a_reason_against_the_label() -> None:
    scale = fit_scale([(cut(100, 0), cut(c, 0)) for c in (60, 80, 100, 120)])
    assert scale is not None
    assert scale.half_log["T_total"] > BOUND_FRAC
    assert scaled_latency(cut(100, 0), scale).reasons == ("scaled_interval_wide",)


def test_runs_of_other_length_compare_by_the_step() -> None:
    scale = fit_scale([(cut(100, 200, steps=2), cut(80, 500, steps=10))] * 3)
    assert scale is not None
    assert scale.factors["decode"] == pytest.approx(0.5)


def test_a_stage_that_no_other_sample_has_takes_the_factor_of_totals() -> None:
    scale = fit_scale([(cut(100, 100), cut(50, 70))] * 3)
    assert scale is not None
    lone = Cut(by_stage={"projector": 10.0, "prefill": 100.0}, steps=0)
    assert scaled_latency(lone, scale).ns["T_projector"] == pytest.approx(6.0)


def test_the_time_to_first_token_has_a_factor_of_its_own() -> None:
    scale = fit_scale([(cut(100, 10, ttft=90), cut(80, 8, ttft=60))] * 3)
    assert scale is not None
    assert scaled_latency(cut(100, 10, ttft=120), scale).ns["T_TTFT"] == pytest.approx(80)


def test_without_a_pair_there_is_no_scale() -> None:
    assert fit_scale([]) is None


def test_stages_over_several_devices_are_scaled_by_the_total_and_say_so() -> None:
    total = {**NO_TIMES, "T_total": 55.0}
    control = Latency(
        source="control",
        ns=total,
        lo_ns={**NO_TIMES, "T_total": 54.0},
        hi_ns={**NO_TIMES, "T_total": 56.0},
        controls=3,
    )
    latency = scaled_by_total(cut(100, 10), control)
    assert latency.ns["T_total"] == pytest.approx(55)
    assert latency.ns["T_LLM_prefill"] == pytest.approx(50)
    assert latency.reasons == ("scaled_by_total",)
    assert latency.hi_ns["T_LLM_prefill"] == pytest.approx(50 * sqrt(56 / 54))
