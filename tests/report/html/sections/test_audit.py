"""Audits as pages: every figure of the result is in a table."""

from __future__ import annotations

from pathlib import Path

from trace_timing.report.html.sections.audit import audit_sections
from trace_timing.stats.audit.audit import audit
from trace_timing.stats.audit.read_results import read_older


def test_a_page_a_file_has_its_counts_and_rows(shared: Path) -> None:
    results = [audit(read_older(path)) for path in sorted((shared / "legacy").glob("*.json"))]
    overview, *pages = audit_sections(results)
    files = overview.tables["Files"]
    assert files[["rows", "valid", "one_token", "zero_decode"]].values.tolist() == [
        [60, 35, 20, 4],
        [60, 35, 20, 20],
    ]
    negative = [len(page.tables["Rows whose parts exceed the total"]) for page in pages]
    assert negative == [4, 20]
    for page, result in zip(pages, results, strict=True):
        reasons = page.tables["Reasons"].set_index("reason")["rows"]
        assert reasons["one_token_no_decode_step"] == 20
        assert len(page.tables["Every row"]) == 60
        assert page.tables["Every row"]["valid"].sum() == 35
        assert page.sentences[0] == f"{result.source}: 35 of 60 rows valid (58.33%)."
        assert set(page.figures) == {
            "Total less vision less prefill, before clamping",
            "The same decode, per token and per step",
        }


def test_one_file_has_one_page(shared: Path) -> None:
    (path,) = (shared / "legacy").glob("*full-forward*")
    (page,) = audit_sections([audit(read_older(path))])
    assert (page.slug, page.title) == ("audit", "Audit")
