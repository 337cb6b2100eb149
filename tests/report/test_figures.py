"""Figures: what each draws and names, and that it draws nothing that is not known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.report.synthetic import detail, report_data
from trace_timing.report.figures.overview import distribution, ink_on, run_stages, split
from trace_timing.report.figures.steps import decode_by_position, run_steps, whole_ticks
from trace_timing.report.figures.timeline import timeline
from trace_timing.report.html.sections.statistics import statistics_section
from trace_timing.report.model import ReportData, RunKey
from trace_timing.report.palette import BUSY_COLOUR, COLOURS, RECORDED_COLOUR
from trace_timing.report.trust import check_line
from trace_timing.stats.capture.statistics import ScalingFit, Statistics
from trace_timing.stats.methods.intervals import Interval
from trace_timing.stats.methods.trend import LineFit


@pytest.fixture
def data() -> ReportData:
    return report_data(runs=3, steps=4)


def of_host_clock(data: ReportData) -> ReportData:
    """The same data as if the traces had no GPU timeline: windows, no busy or idle time."""
    blank = dict.fromkeys(("busy_ns", "idle_ns", "queued_ns", "kernel_sum_ns"), pd.NA)
    return replace(
        data,
        runs=data.runs.assign(clock="host"),
        stages=data.stages.assign(clock="host", **blank).astype(dict.fromkeys(blank, "Int64")),
        kernels=data.kernels[:0],
    )


def test_a_host_clock_run_has_its_windows_drawn(data: ReportData) -> None:
    mine = of_host_clock(data).stages
    mine = mine[mine["sample_id"] == "sample-0000"]
    drawn = {bar.meta["column"]: bar for bar in run_stages(mine).plotly().data}
    shown = np.asarray(drawn["unknown_ns"].x, float)
    assert np.nansum(shown) * 1e6 == pytest.approx(mine["window_ns"].sum())
    assert drawn["unknown_ns"].name == "window, GPU not known"


def test_nothing_is_said_of_kernels_where_there_are_none(data: ReportData) -> None:
    assert "kernel" in check_line(data).sentence
    assert "kernel" not in check_line(of_host_clock(data)).sentence


@pytest.mark.parametrize("runs", [3, 40])
def test_the_spread_of_every_stage_is_seen(runs: int) -> None:
    """Windows are drawn ÷ the stage's median, so that no stage is a hairline beside another."""
    stages = report_data(runs=runs, steps=4).stages
    figure = distribution(stages).plotly()
    assert len(figure.data) == stages["stage"].nunique()
    for trace in figure.data:
        assert trace.type == ("scatter" if runs == 3 else "box")
        middle = np.median(trace.x) if runs == 3 else trace.median[0]
        assert middle == pytest.approx(1.0)
    points = figure.data[0]
    if runs == 3:
        mine = stages[stages["stage"] == points.meta["stage"]]
        assert list(points.customdata) == [ns / 1e6 for ns in mine["window_ns"]]


def test_a_hover_shows_how_long_a_stage_is_and_not_where_it_ends() -> None:
    run = detail(RunKey("one", 0, 0))
    bands = [
        t for t in timeline(run).plotly().data if t.type == "bar" and t.meta["row"] == "stages"
    ]
    for band in bands:
        assert "%{customdata" in band.hovertemplate
        assert list(band.customdata) == list(band.x), "x of the data is the length, too"
    device = [t for t in timeline(run).plotly().data if t.meta["row"] == "device"]
    assert all(len(t.text) == len(t.x) for t in device), "a text a point, or hovering shows `-`"


@pytest.mark.parametrize(("most", "step"), [(3, 1), (12, 1), (127, None)])
def test_ticks_of_steps_are_whole_and_never_repeat(most: int, step: int | None) -> None:
    assert whole_ticks(1, most).get("dtick") == step


def test_a_line_needs_an_interval(data: ReportData) -> None:
    row = {"of": "decode step", "against": "position", "time": "busy", "intercept_ms": 2.0,
           "slope_us": -3.0, "slope_lo_us": None, "slope_hi_us": None}  # fmt: skip
    growth = [
        t.meta for t in decode_by_position(data.steps, [row]).plotly().data if "growth" in t.meta
    ]
    assert growth == []
    known = {**row, "slope_lo_us": -4.0, "slope_hi_us": -2.0}
    assert any("growth" in t.meta for t in decode_by_position(data.steps, [known]).plotly().data)


@pytest.mark.parametrize("interval", [None, Interval(low=-3e-3, high=-1e-3)])
def test_three_points_have_no_falling_line(data: ReportData, interval: Interval | None) -> None:
    line = LineFit(points=3, slope=-2e-3, slope_interval=interval, intercept=23.0, spread=0.0)
    fit = ScalingFit(
        of="prefill", kind="latency", against="input_tokens", line=line, x=(1, 2, 3), y=(3, 2, 1)
    )
    section = statistics_section(
        Statistics(noise_floor=(), scaling=(fit,), outliers=()), data.samples, data.steps
    )
    drawn = section.figures["Prefill against input tokens"].plotly().data
    assert any("line" in trace.meta for trace in drawn) == (interval is not None)


def test_a_band_wider_than_the_lines_does_not_flatten_them(data: ReportData) -> None:
    wide = data.steps.assign(latency_lo_ns=0, latency_hi_ns=10**12)
    figure = decode_by_position(wide).plotly()
    highest = max(max(t.y) for t in figure.data if not t.meta.get("band"))
    assert figure.layout.yaxis.range[1] < 2 * highest


def test_a_run_without_steps_has_no_step_chart(data: ReportData) -> None:
    assert all(len(t.x) == 0 for t in run_steps(data.steps[:0]).plotly().data)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("colour", COLOURS.values())
def test_text_on_a_stages_colour_can_be_read(colour: str) -> None:
    """WCAG asks for a contrast of 4.5 : 1."""
    light, dark = sorted((luminance(ink_on(colour)), luminance(colour)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_lines_of_steps_have_colours_far_apart() -> None:
    rgb = [
        np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        for c in (COLOURS["decode"], RECORDED_COLOUR, BUSY_COLOUR)
    ]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(rgb) for b in rgb[:i]) > 0.4


def test_the_split_writes_only_where_there_is_room(data: ReportData) -> None:
    mine = data.stages[data.stages["sample_id"] == "sample-0000"]
    total = mine["window_ns"].sum() / 1e6
    for bar in split(mine).plotly().data:
        assert bool(bar.text[0]) == (bar.x[0] / total > 0.09)
