"""The terminal's story: short, plain when piped, whole on a narrow terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tests.report.synthetic import report_data
from trace_timing.records.findings import FigureWarning
from trace_timing.report.findings import plus_minus
from trace_timing.report.model import ReportData
from trace_timing.report.terminal.analysis import render
from trace_timing.schema import SAMPLE_TIMES


def printed(data: ReportData, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(render(data, width=width))
    return out.getvalue()


def test_it_is_plain_text_where_nobody_looks_and_thirty_lines_at_most() -> None:
    text = printed(report_data())
    assert "\x1b" not in text
    assert len(text.splitlines()) <= 30


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_every_stage_and_its_latency_stand_on_any_width(width: int) -> None:
    data = report_data()
    text = printed(data, width)
    assert max(map(len, text.splitlines())) <= width
    for label in ("Vision encoder", "Prefill", "Decode", "Sampling"):
        assert any(label in line and " ms" in line for line in text.splitlines())


def test_a_warning_stands_under_the_table_with_its_remedy() -> None:
    warning = FigureWarning(code="c", message="too few", evidence="2 runs", remedy="record more")
    text = printed(replace(report_data(), summary={"warnings": [warning]}))
    assert text.index("Decode") < text.index("too few") < text.index("record more")


def test_as_many_warnings_as_thirty_lines_take_are_shown_and_the_rest_is_counted() -> None:
    warnings = [
        FigureWarning(code="c", message=f"figure {i} is odd", evidence="e", remedy="look")
        for i in range(40)
    ]
    text = printed(replace(report_data(), summary={"warnings": warnings}), 80)
    lines = text.splitlines()
    assert len(lines) == 30
    shown = sum(line.startswith("warning:") for line in lines)
    assert lines[-1] == f"and {40 - shown} more warnings: see the report"


def test_what_recording_did_is_said_once() -> None:
    sentence = "Recording made runs ×1.30 as long."
    summary = {"recording_effect": {"sentence": sentence}}
    text = printed(replace(report_data(), summary=summary), 200)
    assert text.count(sentence) == 1


def test_the_hosts_clock_is_said_in_words() -> None:
    data = report_data()
    samples, runs = (table.assign(clock="host") for table in (data.samples, data.runs))
    text = printed(replace(data, samples=samples, runs=runs))
    assert "clock = host" in text
    assert "no GPU timeline" in text


def test_without_stage_ranges_nothing_is_said_of_stages() -> None:
    data = report_data(runs=1)
    lost = data.stages.head(1).assign(stage="unattributed", reason="no_stage_ranges")
    names = [n for n in SAMPLE_TIMES if n not in ("T_rest", "T_total")]
    nothing = {f"{n}_ms": np.nan for n in names}
    samples, runs = (table.assign(**nothing) for table in (data.samples, data.runs))
    text = printed(
        replace(data, samples=samples, runs=runs, stages=lost, steps=data.steps.head(0)), 200
    )
    assert "without stage ranges" in text
    assert "decode step" not in text
    assert "largest part" not in text
    assert "(unattributed)" not in text


def test_without_a_latency_the_times_are_called_recorded() -> None:
    data = report_data()
    samples = data.samples.assign(latency_source="recorded", controls=0)
    text = printed(replace(data, samples=samples), 200)
    assert "recorded" in text.splitlines()[1]
    assert "latency" not in text.splitlines()[1]
    assert "Times are those of recorded runs (too long by what recording cost)." in text


def test_where_the_latencies_come_from_is_said_with_the_number_of_runs() -> None:
    data = report_data(runs=4)
    assert "measured without the profiler, 5 runs a sample." in printed(data, 200)
    samples = data.samples.copy()
    samples.loc[0, ["latency_source", "controls"]] = ["scaled", 0]
    text = printed(replace(data, samples=samples), 200)
    assert "measured without the profiler, 5 runs a sample (3 of 4 samples)" in text
    assert "scaled by other samples' controls (1 of 4 samples)" in text


def test_an_interval_wider_than_the_figure_is_said_to_be() -> None:
    assert [plus_minus(half) for half in (None, 0.021, 0.5, 1, 63.25)] == [
        "", "± 2.1%", "± 50%", "± 100%", "± >100%"
    ]  # fmt: skip


def test_without_a_recorded_run_no_check_is_said_to_hold() -> None:
    data = report_data()
    text = printed(replace(data, runs=data.runs.head(0), stages=data.stages.head(0)), 200)
    assert "No run was recorded" in text
    assert "All checks" not in text
