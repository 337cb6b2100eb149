"""An analysis in a notebook: complete without scripts, escaped, with figures to restyle."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import trace_timing
from tests.paths import SAMPLE_TRACES
from tests.report.synthetic import report_data, sample_name
from trace_timing.errors import UsageError
from trace_timing.records.findings import FigureWarning
from trace_timing.report.html.notebook import Figures, summary_html
from trace_timing.schema import SAMPLE_TIMES


class Tags(HTMLParser):
    """Collects the tags opened and closed, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.closed.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_analysis_shows_its_stages_and_findings() -> None:
    analysis = trace_timing.analyze(SAMPLE_TRACES)
    shown = Tags(analysis._repr_html_())
    assert "3 samples, 3 recorded runs, clock = device" in shown.text
    for label in ("Vision encoder", "Prefill", "Decode", "Sampling"):
        assert label in shown.text
    assert analysis.recording_effect is not None
    assert analysis.recording_effect.sentence in shown.text
    assert repr(analysis) == "<Analysis of 3 samples, 19 runs, 1 warnings>"


def test_it_is_small_whole_and_without_scripts_or_colours_of_its_own_ground() -> None:
    html = summary_html(report_data(runs=200))
    tags = Tags(html)
    assert len(html) < 12_000
    assert "script" not in tags.opened
    assert sorted(t for t in tags.opened if t != "br") == sorted(tags.closed)
    assert html.count("color:inherit") == 2  # of the whole, and of the table, which would not
    assert "background:#fff" not in html


def test_what_a_trace_names_is_escaped() -> None:
    warning = FigureWarning(
        code="x", message="<img src=x onerror=alert(1)>", evidence="<b>", remedy="&"
    )
    data = replace(report_data(), summary={"warnings": [warning]})
    html = summary_html(replace(data, samples=data.samples.assign(sample_id="<script>")))
    assert "<img" not in html
    assert "<script" not in html


def test_a_figure_that_is_not_known_is_said_so() -> None:
    data = report_data()
    unknown = {f"{name}_busy_ms": np.nan for name in SAMPLE_TIMES}
    assert "cannot tell" not in summary_html(data)
    assert "cannot tell" in summary_html(replace(data, samples=data.samples.assign(**unknown)))


def test_each_call_gives_a_figure_of_its_own_to_restyle() -> None:
    figures = Figures(report_data(runs=4, details=1))
    figures.split().update_layout(template="plotly_dark")
    assert figures.split().layout.template.layout.paper_bgcolor is None
    made = [
        figures.samples(),
        figures.distribution(),
        figures.steps(),
        figures.steps(sample_name(1)),
        figures.kernels(per_stage=2),
        figures.timeline(sample_name(0)),
    ]
    assert all(len(figure.data) for figure in made)


def test_an_unknown_sample_or_timeline_is_refused_with_the_names_of_the_known() -> None:
    figures = Figures(report_data(runs=3, details=1))
    with pytest.raises(UsageError, match=r"samples: sample-0000"):
        figures.split("nobody")
    with pytest.raises(UsageError, match=r"kept: sample-0000"):
        figures.timeline(sample_name(2))
