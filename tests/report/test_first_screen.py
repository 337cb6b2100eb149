"""The first screen's figures, sentences and texts to copy, against the tables that they sum up."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from tests.report.synthetic import report_data
from trace_timing.report.findings import ms
from trace_timing.report.html.copy_text import copy_texts
from trace_timing.report.html.first_screen import draw_bars
from trace_timing.report.html.tiles import axis_of, bars, measured, tiles, title
from trace_timing.report.main_finding import limit_of, main_finding
from trace_timing.report.model import ReportData
from trace_timing.report.trust import trust_sentence


@pytest.fixture
def data() -> ReportData:
    return report_data(runs=5, steps=6)


def changed(data: ReportData, **columns: Any) -> ReportData:
    return replace(data, samples=data.samples.assign(**columns))


def of_one(data: ReportData) -> ReportData:
    return replace(data, samples=data.samples[:1])


def test_tiles_are_the_medians_of_the_sample_table(data: ReportData) -> None:
    columns = {"vision": "T_vision_total", "prefill": "T_LLM_prefill", "total": "T_total",
               "step": "T_decode_per_token"}  # fmt: skip
    shown = {tile.slug: tile for tile in tiles(data)}
    assert list(shown) == ["vision", "prefill", "step", "total"]
    for slug, column in columns.items():
        values = data.samples[f"{column}_ms"]
        assert shown[slug].ms == values.median()
        assert shown[slug].figure == ms(values.median())
        assert shown[slug].plus_minus == "± 3.0%"
        assert shown[slug].source == "unprofiled, 5 runs each"
        least, most = ms(values.min()).removesuffix(" ms"), ms(values.max())
        assert shown[slug].summary == f"median of 5 samples: {least} to {most}"
    assert f"TTFT {ms(data.samples['T_TTFT_ms'].median())}" not in shown["prefill"].lines


def test_a_tile_of_one_sample_is_its_row(data: ReportData) -> None:
    one = of_one(changed(data, T_TTFT_ms=31.5, T_TTFT_lo_ms=31.0, T_TTFT_hi_ms=32.0))
    prefill = tiles(one)[1]
    row = one.samples.iloc[0]
    low, high = (ms(row[f"T_LLM_prefill_{end}_ms"]) for end in ("lo", "hi"))
    assert prefill.lines == (
        f"95 %: {low.removesuffix(' ms')} to {high}",
        "TTFT 31.5 ms ± 1.6%",
    )
    assert (prefill.source, prefill.summary) == ("unprofiled, 5 runs", "")


def test_recorded_times_are_upper_bounds_and_busy_the_lower_one(data: ReportData) -> None:
    recorded = changed(data, latency_source="recorded", controls=0)
    prefill = tiles(recorded)[1]
    busy = ms(data.samples["T_LLM_prefill_busy_ms"].median())
    assert prefill.source == "recorded: upper bound"
    assert prefill.plus_minus == ""
    assert prefill.lines[0] == f"at least {busy} (GPU busy)"
    assert "Upper bounds" in trust_sentence(recorded).text


def test_a_set_of_different_sources_says_how_many_of_each(data: ReportData) -> None:
    sources = ["control", "control", "control", "scaled", "recorded"]
    total = tiles(changed(data, latency_source=sources))[-1]
    assert total.source == (
        "sources differ: 3 unprofiled, 1 scaled from other samples' unprofiled runs, 1 recorded"
    )


def test_one_output_token_has_no_step(data: ReportData) -> None:
    none = {"T_decode_per_token_ms": None, "T_LLM_decode_ms": None, "decode_steps": 0}
    step = tiles(changed(data, **none))[2]
    assert (step.ms, step.figure, step.plus_minus) == (None, "no step", "")
    assert step.lines == ("One output token comes from prefill alone.",)


def test_bars_have_vision_before_its_parts_and_the_total_last(data: ReportData) -> None:
    shown = bars(data)
    assert [(bar.row.time, bar.is_part) for bar in shown] == [
        ("T_vision_total", False), ("T_vision_encoder", True), ("T_projector", True),
        ("T_LLM_prefill", False), ("T_LLM_decode", False), ("T_sampling", False),
        ("T_rest", False), ("T_total", False),
    ]  # fmt: skip
    for bar in shown:
        assert bar.row.low_ms == data.samples[f"{bar.row.time}_lo_ms"].median()
        assert bar.row.high_ms == data.samples[f"{bar.row.time}_hi_ms"].median()


def test_lengths_are_in_proportion_and_a_cut_interval_is_marked(data: ReportData) -> None:
    wide = data.samples["T_total_ms"] * 3
    drawn, ticks = draw_bars(bars(changed(data, T_total_hi_ms=wide)))
    by_time = {one.bar.row.time: one for one in drawn}
    total = by_time["T_total"]
    for one in drawn:
        assert one.width / total.width == pytest.approx(one.bar.row.ms / total.bar.row.ms)
        assert one.busy is not None
        assert one.busy / one.width == pytest.approx(
            (one.bar.row.busy_ms or 0) / one.bar.row.ms, rel=1e-9
        )
    assert total.is_cut
    assert total.high == 100.0
    assert not by_time["T_LLM_prefill"].is_cut
    assert ticks[0] == (0.0, "0")


@pytest.mark.parametrize(
    ("longest", "ticks"),
    [
        (282.0, (0, 100, 200)),
        (1.0, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.0, (0, 0.2, 0.4, 0.6, 0.8, 1)),
    ],
)
def test_ticks_stand_at_round_numbers(longest: float, ticks: tuple[float, ...]) -> None:
    assert axis_of([longest]).ticks_ms == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("idle", "limit"),
    [(None, "unknown"), (0.72, "host"), (0.5, "both"), (0.18, "both"), (0.1, "gpu"), (0.0, "gpu")],
)
def test_limits_by_idle_time(idle: float | None, limit: str) -> None:
    assert limit_of(idle) == limit


def verdicts_of(data: ReportData, **remedies: str) -> pd.DataFrame:
    """A verdict a run and name `stage__code`."""
    keys = [name.split("__") for name in remedies]
    return pd.DataFrame(
        [
            {**run, "stage": stage, "code": code, "sentence": "", "remedy": remedy}
            for run in data.recorded[["sample_id", "repeat", "rank"]].to_dict("records")
            for (stage, code), remedy in zip(keys, remedies.values(), strict=True)
        ]
    )


def test_the_finding_is_of_the_longest_stage_with_its_verdicts_remedy(data: ReportData) -> None:
    verdicts = verdicts_of(data, prefill__host_bound="of prefill", decode__host_bound="graphs")
    rare = verdicts[:1].assign(stage="decode", code="sync_bound", remedy="rare")
    found = main_finding(replace(data, verdicts=pd.concat([rare, verdicts])))
    samples = data.samples
    step, busy = (samples[f"T_decode_per_token{of}_ms"].median() for of in ("", "_busy"))
    assert (found.limit, found.headline) == ("host", "The host is the limit")
    assert f"In a decode step the GPU works {ms(busy)} of {ms(step)}" in found.evidence
    assert found.next_step == "graphs"


def test_a_busy_gpu_gets_no_remedy_of_the_host(data: ReportData) -> None:
    samples = data.samples
    busy = {
        f"{name}_busy_ms": samples[f"{name}_ms"] * 0.95
        for name in ("T_LLM_decode", "T_decode_per_token", "T_total")
    }
    found = main_finding(
        replace(
            data,
            samples=samples.assign(**busy),
            verdicts=verdicts_of(data, decode__host_bound="graphs"),
        )
    )
    assert found.headline == "The GPU is the limit"
    assert "less or cheaper work for the GPU" in found.next_step


def test_without_gpu_times_it_does_not_claim_a_limit(data: ReportData) -> None:
    names = [name for name in data.samples if str(name).endswith("_busy_ms")]
    blind = changed(data, **dict.fromkeys(map(str, names)))
    assert main_finding(blind).headline == "Host or GPU: cannot tell"
    assert main_finding(changed(blind, device="CPU")).headline == "The model ran on the CPU"


def test_trust_is_one_sentence_that_names_what_is_wrong(data: ReportData) -> None:
    assert trust_sentence(data).text == (
        "Measured without the profiler, and all checks hold on 5 recorded runs."
    )
    assert trust_sentence(data).kind == "good"
    wide = changed(data, T_total_lo_ms=0.0, T_total_hi_ms=data.samples["T_total_ms"] * 2)
    assert trust_sentence(wide).kind == "warn"
    assert "± 100% only" in trust_sentence(wide).text
    some = changed(data, usable=[True, True, True, True, False])
    assert "4 of 5 samples can be used as labels" in trust_sentence(some).text
    broken = replace(data, runs=data.runs.assign(checks_hold=False))
    assert trust_sentence(broken).kind == "bad"
    assert trust_sentence(broken).text.startswith("Do not use these figures")


def test_copied_texts_hold_the_figures(data: ReportData) -> None:
    texts = {copy.name: copy.text for copy in copy_texts(bars(data), tiles(data))}
    rows = list(csv.DictReader(io.StringIO(texts["CSV"])))
    prefill = next(row for row in rows if row["stage"] == "Prefill")
    median = data.samples["T_LLM_prefill_ms"].median()
    assert float(prefill["latency_ms"]) == pytest.approx(median, abs=1e-6)
    assert prefill["source"] == "unprofiled, 5 runs each"
    assert f"| Prefill | {ms(median)} | ± 3.0% |" in texts["Markdown"]
    assert rf"Prefill & {ms(median)} & $\pm$ 3.0\% &" in texts["LaTeX"]
    assert texts["LaTeX"].count(r"\\") == len(rows) + 1


def test_what_was_measured_is_said_once_each(data: ReportData) -> None:
    known = changed(data, model="llava", device="NVIDIA H200", torch="2.11", input_tokens=580)
    assert title(known) == "llava on NVIDIA H200"
    assert ("tokens out", "7") in measured(known)
    assert ("torch", "2.11") in measured(known)
    assert title(changed(known, model=None)) == "Stage latencies on NVIDIA H200"
    assert ("torch", "2 different") in measured(changed(known, torch=["1", "2", "2", "2", "2"]))
