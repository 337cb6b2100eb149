"""Latency rows over samples, against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.report.synthetic import report_data
from trace_timing.report.latency_rows import LatencyRow, half_frac, latency_rows, source_sentence
from trace_timing.report.model import ReportData


def changed(data: ReportData, **columns: Any) -> ReportData:
    return replace(data, samples=data.samples.assign(**columns))


def rows(data: ReportData) -> dict[str, LatencyRow]:
    return {row.time: row for row in latency_rows(data)}


def test_medians_over_samples_and_shares_of_all_totals() -> None:
    data = changed(
        report_data(runs=3),
        T_LLM_decode_ms=[10.0, 20.0, 60.0],
        T_total_ms=[100.0, 100.0, 100.0],
        T_decode_per_token_ms=[1.0, 2.0, 6.0],
    )
    decode = rows(data)["T_LLM_decode"]
    assert (decode.ms, decode.share_frac, decode.per_token_ms) == (20, pytest.approx(0.3), 2)
    assert (decode.samples, rows(data)["T_total"].share_frac) == (3, 1)
    assert rows(data)["T_LLM_prefill"].per_token_ms is None


def test_idle_is_what_the_device_did_not_work_and_may_be_negative() -> None:
    data = changed(report_data(runs=2), T_total_ms=[100.0, 100.0], T_total_busy_ms=[60.0, 20.0])
    assert rows(data)["T_total"].idle_frac == pytest.approx(0.6)
    over = changed(data, T_total_busy_ms=[110.0, np.nan])
    assert rows(over)["T_total"].idle_frac == pytest.approx(-0.1), "shown, never clamped"
    assert rows(changed(data, T_total_busy_ms=np.nan))["T_total"].idle_frac is None


def test_a_time_that_no_sample_has_has_no_row() -> None:
    names = ("T_vision_total", "T_vision_encoder", "T_projector", "T_LLM_decode")
    found = rows(changed(report_data(), **{f"{name}_ms": np.nan for name in names}))
    assert list(found) == ["T_LLM_prefill", "T_sampling", "T_rest", "T_total"]


def test_a_vision_stage_of_one_part_is_told_once() -> None:
    found = rows(changed(report_data(), T_projector_ms=np.nan))
    assert "T_vision_total" in found
    assert not {"T_vision_encoder", "T_projector"} & set(found)


def test_the_half_width_is_the_median_over_samples_that_have_an_interval() -> None:
    samples = report_data(runs=3).samples.assign(
        T_total_ms=100.0, T_total_lo_ms=[99.0, 90.0, np.nan], T_total_hi_ms=[101.0, 110.0, np.nan]
    )
    assert half_frac(samples, "T_total") == pytest.approx(0.055)
    recorded = samples.assign(latency_source="recorded")
    assert half_frac(recorded, "T_total") is None, "busy to recorded is no interval"


def test_no_sample_has_no_sentence() -> None:
    data = report_data()
    assert source_sentence(replace(data, samples=data.samples.head(0))) == ""
