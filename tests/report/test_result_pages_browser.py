"""Pages of compare, audit and the statistics in a real Chromium, made by the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.api.made_captures import OLDER
from tests.paths import SAMPLE_TRACES
from tests.report.browsing import Visit, figures_of, table_of, violations
from tests.stats.compared_tables import report_directory, tables
from tests.stats.older_rows import older_file
from trace_timing.api.analysis.analyze import analyze
from trace_timing.api.analysis.result import Analysis
from trace_timing.api.output.load import load
from trace_timing.report.findings import ms
from trace_timing.report.html.page import write_report
from trace_timing.report.html.sections.statistics import statistics_section
from trace_timing.stats.audit.against_capture import hold_against
from trace_timing.stats.audit.audit import AuditResult, audit
from trace_timing.stats.audit.read_results import read_older
from trace_timing.stats.audit.row_validity import judge
from trace_timing.stats.comparison.compare import ComparisonResult, compare
from trace_timing.stats.comparison.figures import Tables

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trace_timing", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def sides(folder: Path) -> tuple[Tables, Tables]:
    return (
        replace(tables(1), environment={"torch": "2.11"}),
        replace(tables(2, decode=1.1), environment={"torch": "2.13"}),
    )


@pytest.fixture(scope="module")
def comparison(folder: Path, sides: tuple[Tables, Tables]) -> tuple[Path, ComparisonResult]:
    a, b = (report_directory(folder / name, side) for name, side in zip("AB", sides, strict=True))
    done = run("compare", a, b, "-o", folder / "compared", "--fail-on", "busy decode > 5%")
    assert done.returncode == 1, done.stderr
    return folder / "compared" / "compare.html", compare(*sides)


@pytest.fixture(scope="module")
def audited(folder: Path) -> tuple[Path, AuditResult]:
    file = older_file(folder)
    done = run("audit", file, "--against", OLDER, "-o", folder / "audited")
    assert done.returncode == 0, done.stderr
    older = read_older(file)
    held = hold_against(older, judge(older), load(str(OLDER)).samples, source="older_capture")
    return folder / "audited" / "audit.html", audit(older, against=held)


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyze(SAMPLE_TRACES)


@pytest.fixture(scope="module")
def statistics(folder: Path, analysis: Analysis) -> Path:
    write_report(analysis.report_data(), folder / "report.html")
    return folder / "report.html"


def opened(browser: Any, path: Path, **context: Any) -> Visit:
    return Visit(browser, path, **{"viewport": {"width": 1280, "height": 900}, **context})


def test_a_comparisons_values_are_its_tables(
    browser: Any, comparison: tuple[Path, ComparisonResult]
) -> None:
    path, result = comparison
    visit = opened(browser, path)
    page = visit.go("compare")
    shown = {row["name"]: row for row in table_of(page, "#compare-t0")}
    stages = [r for r in result.rows if r.level not in ("kind", "kernel")]
    assert list(shown) == [row.name for row in stages]
    for row in stages:
        assert shown[row.name]["verdict"] == row.verdict
        assert shown[row.name]["A_ms"] == f"{row.a_ms:,.3f}"
        assert float(shown[row.name]["ratio"]) == pytest.approx(row.ratio, abs=1e-4)
    drawn = {
        x: t["meta"]["verdict"]
        for t in figures_of(page, "[data-figure=compare-f0]")
        for x in t["x"]
    }
    assert drawn == {row.ratio: row.verdict for row in stages}
    words = page.locator("#page-compare").inner_text()
    assert "Slower: busy decode ×1." in words
    assert "FAILS: busy decode > 5.00%" in words
    assert table_of(page, "#compare-t3") == [
        {"name": "environment.torch", "a": "2.11", "b": "2.13", "bearing": "listed"}
    ]
    assert visit.messages == []
    visit.context.close()


def test_an_audits_values_are_its_tables(browser: Any, audited: tuple[Path, AuditResult]) -> None:
    path, result = audited
    visit = opened(browser, path)
    page = visit.go("audit")
    points = figures_of(page, "[data-figure=audit-f0]")
    drawn = {(t["meta"]["valid"], y) for t in points for y in t["y"]}
    assert drawn == {(row.valid, row.difference_ms) for row in result.judged}
    titles = page.locator("#page-audit > h2").all_inner_texts()
    at = [t for t in titles if page.locator(f".figure[aria-label='{t}']").count() == 0]
    by_row = table_of(page, f"#audit-t{at.index('Against the capture, row by row')}")
    assert result.against is not None
    assert [(row["sample_id"], row["figure"], row["difference_ms"]) for row in by_row] == [
        (row.sample_id, row.figure, f"{row.difference_ms:,.3f}") for row in result.against.rows
    ]
    assert visit.messages == []
    visit.context.close()


def test_the_statistics_are_the_summary_tables(
    browser: Any, statistics: Path, analysis: Analysis
) -> None:
    visit = opened(browser, statistics)
    page = visit.go("statistics")
    times = {row["time"]: row for row in table_of(page, "#statistics-t0")}
    assert times["T_total_ms"]["median_ms"] == f"{analysis.samples['T_total_ms'].median():,.3f}"
    assert "Noise floor: controls of one input" in page.locator("#page-statistics").inner_text()
    steps = analysis.steps[analysis.steps["stage"] == "decode"]
    points = [t for t in figures_of(page, "[data-figure=statistics-f1]") if "column" in t["meta"]]
    busy = next(t["y"] for t in points if t["meta"]["column"] == "busy_ms")
    assert len(busy) == 3 + 11 + 12, "of `long` 12 of 127 steps were recorded"
    assert busy == [ns / 1e6 for ns in steps.loc[steps["recorded"], "busy_ns"]]
    assert visit.messages == []
    visit.context.close()


def test_the_reader_chooses_what_growth_is_coloured_by(
    browser: Any, folder: Path, analysis: Analysis
) -> None:
    samples = analysis.samples.assign(tier=["low", "high", "high"])
    data = replace(
        analysis.report_data(),
        sections=[statistics_section(analysis.statistics, samples, analysis.steps)],
    )
    write_report(data, folder / "coloured.html")
    visit = opened(browser, folder / "coloured.html")
    page = visit.go("statistics")
    figure = page.locator(".figure[aria-label^='Prefill'][aria-label$='configuration']")
    choice = figure.locator("xpath=preceding-sibling::label[1]/select")
    assert "tier" in choice.locator("option").all_inner_texts()
    choice.select_option("tier")
    shown = figure.evaluate(
        "el => el.data.filter(t => t.visible).map(t => [t.name, Array.from(t.y)])"
    )
    prefill = analysis.samples["T_LLM_prefill_ms"]
    assert {name: set(y) for name, y in shown} == {
        value: set(prefill[samples["tier"] == value]) for value in ("low", "high")
    }
    assert (violations(page), visit.messages) == ([], [])
    visit.context.close()


PAGES = ["compare", "audit", "statistics"]


@pytest.fixture
def shown(
    request: pytest.FixtureRequest,
    comparison: tuple[Path, ComparisonResult],
    audited: tuple[Path, AuditResult],
    statistics: Path,
) -> tuple[Path, str]:
    name = request.param
    return {"compare": comparison[0], "audit": audited[0], "statistics": statistics}[name], name


@pytest.mark.parametrize("shown", PAGES, indirect=True)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser: Any, shown: tuple[Path, str], theme: str) -> None:
    visit = opened(browser, shown[0], color_scheme=theme)
    found = violations(visit.go(shown[1]))
    visit.context.close()
    assert (found, visit.messages) == ([], [])


@pytest.mark.parametrize("shown", PAGES, indirect=True)
def test_nothing_overflows_a_phone(browser: Any, shown: tuple[Path, str]) -> None:
    visit = opened(browser, shown[0], viewport={"width": 390, "height": 844})
    page = visit.go(shown[1])
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    visit.context.close()


def test_a_page_is_walked_and_sorted_by_keyboard(
    browser: Any, comparison: tuple[Path, ComparisonResult]
) -> None:
    path, result = comparison
    visit = opened(browser, path)
    page = visit.go("compare")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#compare-t0 thead button:text-is('ratio')")
    page.keyboard.press("Enter")
    stages = [r for r in result.rows if r.level not in ("kind", "kernel")]
    highest = max(stages, key=lambda row: row.ratio)
    assert table_of(page, "#compare-t0")[0]["name"] == highest.name
    visit.context.close()


def test_older_figures_stand_beside_ours_and_negatives_in_red(
    browser: Any, audited: tuple[Path, AuditResult]
) -> None:
    path, result = audited
    visit = opened(browser, path)
    page = visit.go("audit")
    against = result.against
    assert against is not None
    for figure, slug in (("T_vision_total", "vision"), ("T_LLM_prefill", "prefill")):
        rows = [row for row in against.rows if row.figure == figure]
        tile = page.locator(f"[data-tile={slug}]").inner_text()
        assert ms(median(row.captured_ms for row in rows)) in tile
        assert f"older: {ms(median(row.older_ms for row in rows))}" in tile
    worst = min(row.difference_ms for row in result.negatives)
    red = page.locator("[data-tile=decode] .negative")
    assert ms(worst).replace("-", "−") in red.inner_text()
    assert red.evaluate("(e) => getComputedStyle(e).color") == "rgb(179, 38, 30)"
    assert f"= {worst:,.2f} ms".replace("-", "−") in page.locator(".main-finding").inner_text()
    visit.context.close()


def test_a_reports_first_screen_sets_older_figures_beside_ours(
    browser: Any, folder: Path, analysis: Analysis
) -> None:
    older = {"short": (40.0, 60.0, 90.0), "medium": (50.0, 60.0, 400.0), "other": (1.0, 2.0, 9.0)}
    rows = [
        {"sample_id": name, "output_tokens": 8, "T_vision_total": vision, "T_LLM_prefill": prefill}
        | {"T_LLM_decode": max(total - vision - prefill, 0.0), "T_total": total}
        for name, (vision, prefill, total) in older.items()
    ]
    file = folder / "same_samples.json"
    file.write_text(json.dumps(rows))
    done = run("analyze", SAMPLE_TRACES, "--older", file, "-o", folder / "with_older")
    assert done.returncode == 0, done.stderr
    visit = opened(browser, folder / "with_older" / "report.html")
    page = visit.go("overview")
    assert "older: 60.0 ms" in page.locator("[data-tile=prefill]").inner_text()
    assert "older: 245 ms" in page.locator("[data-tile=total]").inner_text()
    cell = "#latency-table tr[data-time={}] [data-column=older]"
    assert page.locator(cell.format("T_vision_total")).inner_text() == "45.0 ms"
    red = page.locator(cell.format("T_LLM_decode")).locator(".negative")
    assert "down to −10.0 ms before clamping (short)" in red.inner_text()
    ours = page.locator("#latency-table tr[data-time=T_LLM_prefill] [data-column=latency]")
    assert ours.inner_text() == ms(analysis.samples["T_LLM_prefill_ms"].median())
    assert "2 of 3 rows" in visit.go("older").locator("#page-older").inner_text()
    assert visit.messages == []
    visit.context.close()
