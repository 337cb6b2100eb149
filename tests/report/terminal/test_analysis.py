"""An analysis in the terminal: one table, a dozen lines, nothing cut on a narrow terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tests.report.synthetic import report_data
from trace_timing.records.findings import FigureWarning
from trace_timing.report.findings import plus_minus
from trace_timing.report.latency_rows import latency_rows
from trace_timing.report.main_finding import main_finding, shared_remedy
from trace_timing.report.model import ReportData
from trace_timing.report.terminal.analysis import LINES_OF_FILES, MOST_LINES, Story, render
from trace_timing.report.trust import warning_groups, worst_first
from trace_timing.schema import SAMPLE_TIMES


def printed(data: ReportData, width: int = 100, **more: object) -> str:
    out = io.StringIO()
    verbose = bool(more.pop("verbose", False))
    story = Story(data=data, **more)  # type: ignore[arg-type]
    Console(file=out, width=width).print(render(story, width=width, verbose=verbose))
    return out.getvalue()


def verdict(data: ReportData, stage: str = "decode", code: str = "host_bound") -> pd.DataFrame:
    """The same verdict on every run."""
    runs = data.recorded[["sample_id", "repeat", "rank"]]
    texts = {"sentence": f"{stage} is so", "evidence": "figures", "remedy": "a larger batch"}
    return runs.assign(stage=stage, code=code, **texts)


def many_warnings(count: int) -> ReportData:
    text = "something is odd with it, which takes more than a line to be told in full " * 3
    warnings = [
        FigureWarning(code=f"c{i}", message=f"figure {i}: {text}", evidence="e", remedy=text)
        for i in range(count)
    ]
    return replace(report_data(), summary={"warnings": warnings})


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("warnings", [0, 1, 40])
def test_a_dozen_lines_at_most_stand_under_the_table(width: int, warnings: int) -> None:
    data = many_warnings(warnings)
    lines = printed(replace(data, verdicts=verdict(data)), width).splitlines()
    assert max(map(len, lines)) <= width
    (total,) = (n for n, line in enumerate(lines) if line.startswith("  Total"))
    under = lines[total + 1 :]
    assert len(under) + LINES_OF_FILES <= MOST_LINES
    assert any("is the limit" in line for line in under)
    assert sum("warning" in line for line in under) == bool(warnings)


def test_it_is_plain_text_where_nobody_looks() -> None:
    assert "\x1b" not in printed(report_data())


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_every_stage_and_its_latency_stand_on_any_width(width: int) -> None:
    text = printed(report_data(), width)
    assert max(map(len, text.splitlines())) <= width
    for label in ("Vision encoder", "Prefill", "Decode", "Sampling", "Total"):
        assert any(label in line and " ms" in line for line in text.splitlines())


def test_the_worst_warning_is_named_and_the_others_are_counted() -> None:
    codes = ("odd", "lost_ops", "odd", "no_control")
    data = report_data()
    warnings = [
        FigureWarning(code=code, message=f"{code} it is", evidence="e", remedy=f"mend {code}")
        for code in codes
    ]
    traces = [{"integrity": {"failed": ["lost_ops"]}}]
    data = replace(data, summary={"warnings": warnings, "traces": traces})
    text = printed(data)
    assert "3 warnings, the worst: lost_ops it is" in text
    assert "  do: mend lost_ops" in text
    assert "odd it is" not in text
    ranked = worst_first(warning_groups(data.warnings), data)
    assert [group.code for group in ranked] == ["lost_ops", "no_control", "odd"]


def test_verbose_has_every_warning_with_its_evidence_and_every_verdict() -> None:
    data = many_warnings(8)
    data = replace(data, verdicts=verdict(data))
    text = printed(data, 80, verbose=True, statistics=["noise is small"])
    for n in range(8):
        assert f"figure {n}: something" in text
        assert f"c{n}: e" in text
    assert "decode is so" in text
    assert "noise is small" in text
    assert "share" in text


def test_the_finding_is_the_one_of_the_page_with_what_to_do() -> None:
    data = report_data()
    data = replace(data, verdicts=verdict(data))
    text, found = printed(data, 300), main_finding(data)
    assert f"{found.headline}. {found.evidence}" in text
    assert found.limit == "host"
    assert "  do: a larger batch" in text


def test_the_first_verdict_of_a_stage_that_half_the_runs_share_says_what_to_do() -> None:
    data = report_data(runs=4)
    decode = next(row for row in latency_rows(data) if row.time == "T_LLM_decode")
    few = verdict(data, code="allocator").head(1).assign(remedy="allocate less")
    many = verdict(data, code="sync_bound").assign(remedy="wait less")
    prefill = verdict(data, "prefill", "sync_bound")
    assert shared_remedy(decode, pd.concat([few, many]), data.recorded) == "wait less"
    assert shared_remedy(decode, few, data.recorded) is None
    assert shared_remedy(decode, prefill, data.recorded) is None


def test_what_recording_did_is_said_once() -> None:
    said = "Recording made runs ×1.30 as long."
    data = replace(report_data(), summary={"recording_effect": {"sentence": said}})
    assert printed(data, 200, verbose=True).count(said) == 1


def test_the_hosts_clock_is_said_in_words_and_has_no_columns_of_a_device() -> None:
    data = report_data()
    samples, runs = (table.assign(clock="host") for table in (data.samples, data.runs))
    busy = {n: np.nan for n in samples if str(n).endswith(("busy_ms", "busy_estimate_ms"))}
    text = printed(replace(data, samples=samples.assign(**busy), runs=runs))
    assert "clock = host" in text
    assert "no GPU timeline" in text
    assert "GPU busy" not in text
    assert "idle" not in text


def test_without_stage_ranges_nothing_is_said_of_stages() -> None:
    data = report_data(runs=1)
    lost = data.stages.head(1).assign(stage="unattributed", reason="no_stage_ranges")
    names = [n for n in SAMPLE_TIMES if n not in ("T_rest", "T_total")]
    nothing = {f"{n}_ms": np.nan for n in names}
    samples, runs = (table.assign(**nothing) for table in (data.samples, data.runs))
    changed = replace(data, samples=samples, runs=runs, stages=lost, steps=data.steps.head(0))
    text = printed(changed, 200, verbose=True)
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
    assert "lie between GPU busy and these" in text


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


def test_a_broken_check_stands_first_and_without_a_recorded_run_none_is_said_to_hold() -> None:
    data = report_data()
    broken = printed(replace(data, runs=data.runs.assign(checks_hold=False)), 200)
    under = broken[broken.index("  Total") :].splitlines()
    assert under[1].startswith("A check is broken on 3 of 3 runs")
    empty = replace(data, runs=data.runs.head(0), stages=data.stages.head(0))
    assert "No run was recorded" in printed(empty, 200)
    assert "No run was recorded" in printed(empty, 200, verbose=True)
    assert "All checks" not in printed(empty, 200, verbose=True)
