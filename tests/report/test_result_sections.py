"""Audits and comparisons as pages of the report: every figure of the result is in a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from trace_timing.report.result_sections import audit_section, comparison_section

from trace_timing.stats.audit import audit
from trace_timing.stats.compared_figures import Figure
from trace_timing.stats.comparison import ComparisonResult, judge_figures
from trace_timing.stats.older_results import read_older


def test_an_audits_page_has_its_counts_and_negative_rows(shared: Path) -> None:
    results = [audit(read_older(path)) for path in sorted((shared / "legacy").glob("*.json"))]
    section = audit_section(results)
    assert len(section.tables["Rows whose parts exceed the total"]) == 4 + 20
    reasons = section.tables["Reasons"]
    one = reasons[reasons["reason"] == "one_token_no_decode_step"]
    assert one["rows"].tolist() == [20, 20]
    assert "35 of 60 rows are valid" in section.sentences[0]


def test_a_comparisons_page_has_every_verdict() -> None:
    a = pd.Series(np.linspace(1, 2, 8))
    rows = judge_figures([Figure("stage", "decode", a, a * np.linspace(1.19, 1.21, 8))])
    result = ComparisonResult(
        a="A",
        b="B",
        basis="window",
        paired=True,
        samples=8,
        alpha=0.02,
        margin_frac=0.03,
        differences=(),
        notes=(),
        rows=rows,
        only_a=(),
        only_b=(),
    )
    table = comparison_section(result).tables["Verdicts"]
    assert table["verdict"].tolist() == ["slower"]
    assert table["ratio_lo"][0] < 1.2 < table["ratio_hi"][0]
