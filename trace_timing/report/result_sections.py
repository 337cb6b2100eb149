"""Pages of the report that an audit or a comparison brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from trace_timing.report.model import Section
from trace_timing.stats.audit import AuditResult
from trace_timing.stats.comparison import ComparisonResult
from trace_timing.stats.older_judged import REASONS


def audit_section(results: Sequence[AuditResult]) -> Section:
    """One page for all audited files: counts, reasons, rates by length, negative rows."""
    return Section(
        slug="audit",
        title="Audit of older results",
        sentences=tuple(sentence for result in results for sentence in _audit_sentences(result)),
        tables={
            "Reasons": _joined(results, lambda r: [_reason(n, c) for n, c in r.reasons.items()]),
            "Rows by group": _joined(results, lambda r: _dicts((r.overall, *r.groups))),
            "Rates by output length": _joined(
                results, lambda r: _dicts(r.fencepost.by_length if r.fencepost else ())
            ),
            "Rows whose parts exceed the total": _joined(results, lambda r: _dicts(r.negatives)),
            "Against a capture": _joined(
                results, lambda r: _dicts(r.against.rows if r.against else ())
            ),
        },
    )


def comparison_section(result: ComparisonResult) -> Section:
    """One page: what differs in the conditions, and every verdict."""
    rows = []
    for row in result.rows:
        around = row.ratio_interval
        flat = {k: v for k, v in asdict(row).items() if k != "ratio_interval"}
        flat["ratio_lo"] = around.low if around else None
        flat["ratio_hi"] = around.high if around else None
        rows.append(flat)
    return Section(
        slug="compare",
        title="Comparison",
        sentences=(
            f"B ({result.b}) against A ({result.a}), {result.basis} times.",
            *result.notes,
            f"A false alarm among all {len(result.rows)} verdicts together has a chance of at most "
            f"{result.alpha:.0%}.",
        ),
        tables={
            "Verdicts": pd.DataFrame(rows),
            "Conditions that differ": pd.DataFrame(_dicts(result.differences)),
        },
    )


def _audit_sentences(result: AuditResult) -> list[str]:
    said = [f"{result.source}: {result.valid} of {result.rows} rows are valid."]
    if result.fencepost is not None:
        said.append(f"{result.source}: {result.fencepost.verdict}.")
    return said + [
        f"{result.source}: {doubt.message} ({doubt.evidence})." for doubt in result.findings
    ]


def _reason(name: str, count: int) -> dict[str, Any]:
    return {"reason": name, "rows": count, "meaning": REASONS[name]}


def _joined(
    results: Sequence[AuditResult], rows_of: Callable[[AuditResult], list[dict[str, Any]]]
) -> pd.DataFrame:
    return pd.DataFrame([{"file": r.source, **row} for r in results for row in rows_of(r)])


def _dicts(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]
