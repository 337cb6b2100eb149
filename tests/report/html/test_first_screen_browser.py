"""The first screen in a real Chromium: its figures are those of the tables, and fit the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trace_timing
from tests.paths import SAMPLE_TRACES
from tests.report.browsing import Visit
from trace_timing.report.findings import ms
from trace_timing.report.html.page import write_report
from trace_timing.report.model import ReportData

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def data() -> ReportData:
    return trace_timing.analyze(SAMPLE_TRACES).report_data()


@pytest.fixture(scope="module")
def report(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("first") / "report.html"
    write_report(data, path)
    return path


def test_tiles_show_the_medians(visit: Visit, data: ReportData) -> None:
    page = visit.go("overview")
    for slug, column in (
        ("vision", "T_vision_total_ms"),
        ("prefill", "T_LLM_prefill_ms"),
        ("step", "T_decode_per_token_ms"),
        ("total", "T_total_ms"),
    ):
        tile = page.locator(f"[data-tile={slug}]").inner_text()
        assert ms(data.samples[column].median()) in tile
        assert "unprofiled, 5 runs each" in tile
        assert "median of 3 samples" in tile


def test_the_table_beside_the_bars_is_the_sample_tables(visit: Visit, data: ReportData) -> None:
    page = visit.go("overview")
    for row in page.locator("#latency-table tbody tr").all():
        time = row.get_attribute("data-time")
        shown = row.locator("[data-column=latency]").inner_text()
        assert shown == ms(data.samples[f"{time}_ms"].median())
    busy = page.locator("tr[data-time=T_LLM_prefill] [data-column=busy]").inner_text()
    assert busy == ms(data.samples["T_LLM_prefill_busy_ms"].median())


def test_bars_are_as_long_as_their_figures(visit: Visit, data: ReportData) -> None:
    page = visit.go("overview")
    width = "s => document.querySelector(s).getBoundingClientRect().width"
    total = page.evaluate(width, "tr[data-time=T_total] .bar")
    median = data.samples["T_total_ms"].median()
    for time in ("T_LLM_prefill", "T_LLM_decode", "T_vision_total"):
        bar = page.evaluate(width, f"tr[data-time={time}] .bar")
        assert bar / total == pytest.approx(data.samples[f"{time}_ms"].median() / median, abs=3e-3)
    busy = page.evaluate(width, "tr[data-time=T_LLM_prefill] .busy")
    prefill = page.evaluate(width, "tr[data-time=T_LLM_prefill] .bar")
    share = (
        data.samples["T_LLM_prefill_busy_ms"].median() / data.samples["T_LLM_prefill_ms"].median()
    )
    assert busy / prefill == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_four_answers_are_in_sight(browser: Any, report: Path, width: int, height: int) -> None:
    """Prefill's time, its interval, host or GPU, the next step: visible without scrolling."""
    visit = Visit(browser, report, viewport={"width": width, "height": height})
    page = visit.go("overview")
    for what in (
        "[data-tile=prefill] strong",
        "[data-tile=prefill] .value .word",
        ".trusted > p",
        ".main-finding p:nth-child(1)",
        ".main-finding p:nth-child(2)",
    ):
        box = page.locator(what).bounding_box()
        assert box, what
        assert min(box["x"], box["y"]) >= 0, what
        assert box["x"] + box["width"] <= width, what
        assert box["y"] + box["height"] <= height, what
    visit.context.close()


def test_a_word_is_explained_on_click(visit: Visit) -> None:
    page = visit.go("overview")
    assert not page.locator("#word-busy").is_visible()
    page.click("#latency-table thead .word:text-is('GPU busy')")
    assert "kernel or a copy" in page.locator("#word-busy").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#word-busy").is_visible()


def test_warnings_are_folded_behind_their_number(visit: Visit, data: ReportData) -> None:
    page = visit.go("overview")
    summary = page.locator("#warnings > summary")
    assert summary.inner_text() == f"{len(data.warnings)} warning"
    assert not page.locator("#warnings .remedy").first.is_visible()
    summary.click()
    assert data.warnings[0].remedy in page.locator("#warnings").inner_text()


@pytest.mark.parametrize("name", ["CSV", "Markdown", "LaTeX"])
def test_a_copy_is_the_text_of_its_button(
    browser: Any, report: Path, data: ReportData, name: str
) -> None:
    visit = Visit(browser, report, permissions=["clipboard-read", "clipboard-write"])
    page = visit.go("overview")
    page.click(f"[data-copy={name}]")
    page.wait_for_function("document.querySelector('#copied').textContent !== ''")
    assert page.locator("#copied").inner_text() == f"{name} copied"
    text = page.evaluate("navigator.clipboard.readText()")
    assert text == page.locator(f"[data-copy={name}]").get_attribute("data-text")
    prefill = data.samples["T_LLM_prefill_ms"].median()
    assert (f"Prefill,{prefill:.6f}" if name == "CSV" else ms(prefill)) in text
    visit.context.close()


def test_the_first_screen_needs_no_script_library(visit: Visit) -> None:
    visit.go("overview")
    assert visit.page.evaluate("document.querySelectorAll('#page-overview .figure').length") == 0
    assert visit.messages == []
