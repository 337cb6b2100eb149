"""An audit of older results as pages: one a file, and an overview where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from trace_timing.report.figures.overview import styled
from trace_timing.report.findings import sentence
from trace_timing.report.html.sections.audit_screen import audit_screen
from trace_timing.report.model import Section
from trace_timing.report.terminal.audit import (
    against_sentences,
    counts_sentence,
    fencepost_sentences,
)
from trace_timing.stats.audit.against_capture import LIKE_WITH_LIKE, Against
from trace_timing.stats.audit.audit import AuditGroup, AuditResult
from trace_timing.stats.audit.row_validity import REASONS
from trace_timing.stats.audit.step_count import Fencepost

_VALID, _INVALID = "#0072b2", "#d55e00"


def audit_sections(
    results: Sequence[AuditResult], captured: pd.DataFrame | None = None
) -> tuple[Section, ...]:
    """The pages of an audit; of several files the first page says how many rows are valid.

    Args:
        captured: schema.SAMPLES of the capture that older results are compared with.
    """
    if len(results) == 1:
        return (audit_section(results[0], slug="audit", title="Audit", captured=captured),)
    pages = [
        audit_section(result, slug=f"file-{i}", title=f"File {i}", captured=captured)
        for i, result in enumerate(results, 1)
    ]
    return (_overview(results), *pages)


def _overview(results: Sequence[AuditResult]) -> Section:
    rows = [
        {"page": f"File {i}", "file": r.source, **_counts(r.overall)}
        for i, r in enumerate(results, 1)
    ]
    return Section(
        slug="audit",
        title="All files",
        sentences=tuple(f"{counts_sentence(result)}." for result in results),
        tables={"Files": pd.DataFrame(rows).drop(columns=["column", "value"])},
    )


def _counts(group: AuditGroup) -> dict[str, Any]:
    """A group as a row; mean and range of negative differences read `none` where there are none."""
    row = asdict(group)
    for name in ("negative_mean_ms", "negative_min_ms", "negative_max_ms"):
        row[name] = "none" if row[name] is None else f"{row[name]:,.3f}"
    return row


def audit_section(
    result: AuditResult, *, slug: str, title: str, captured: pd.DataFrame | None = None
) -> Section:
    """The page of one file: valid rows, reasons, decode by length, comparison, and every row."""
    tables = {
        "Reasons": pd.DataFrame(
            [{"reason": n, "rows": c, "meaning": REASONS[n]} for n, c in result.reasons.items()]
        ),
        "Rows by group": pd.DataFrame([_counts(g) for g in (result.overall, *result.groups)]),
        "Rates by output length": pd.DataFrame(
            [asdict(r) for r in (result.fencepost.by_length if result.fencepost else ())]
        ),
        "Against the capture, in short": _summaries(result.against),
        "Against the capture, row by row": pd.DataFrame(
            [asdict(row) for row in (result.against.rows if result.against else ())]
        ),
        "Rows whose parts exceed the total": pd.DataFrame([asdict(r) for r in result.negatives]),
        "Every row": pd.DataFrame(
            [{**asdict(row), "reasons": ", ".join(row.reasons)} for row in result.judged]
        ),
    }
    return Section(
        slug=slug,
        title=title,
        sentences=_sentences(result),
        tables={name: table for name, table in tables.items() if len(table)},
        figures=_figures(result),
        screen=None
        if result.against is None or captured is None
        else audit_screen(result, result.against, captured),
    )


def _sentences(result: AuditResult) -> tuple[str, ...]:
    texts = fencepost_sentences(result.fencepost) if result.fencepost else []
    texts += [f"{d.message}: {d.evidence}. To do: {d.remedy}" for d in result.findings]
    texts += against_sentences(result.against) if result.against else []
    # Not by sentence(): the file's name must keep its first letter.
    return (f"{counts_sentence(result)}.", *map(sentence, texts))


def _figures(result: AuditResult) -> dict[str, go.Figure]:
    figures = {"Total less vision less prefill, before clamping": differences(result)}
    if result.fencepost is not None:
        figures["The same decode, per token and per step"] = rates(result.fencepost)
    if result.against is not None:
        figures["Older less captured, by figure"] = biases(result.against)
    return figures


def differences(result: AuditResult) -> go.Figure:
    """Each row's unclamped difference by output length; no decode takes less than 0 ms."""
    rows = [row for row in result.judged if row.difference_ms is not None]
    figure = go.Figure(
        [
            _points(
                valid,
                [row.output_tokens for row in mine],
                [row.difference_ms for row in mine],
                [f"{row.sample_id}: {', '.join(row.reasons) or 'valid'}" for row in mine],
                "sample %{customdata}<br>%{x} tokens, %{y:,.2f} ms<extra></extra>",
            )
            for valid in (True, False)
            if (mine := [row for row in rows if row.valid == valid])
        ]
    )
    return _over_tokens(figure, height=380)


def rates(fencepost: Fencepost) -> go.Figure:
    """Median decode time by output length N: divided by N, and by N − 1."""
    figure = go.Figure()
    for column, name, colour, dash in (
        ("per_token_ms", "÷ N tokens", _INVALID, "dash"),
        ("per_step_ms", "÷ N − 1 steps", _VALID, "solid"),
    ):
        figure.add_scatter(
            x=[rate.output_tokens for rate in fencepost.by_length],
            y=[getattr(rate, column) for rate in fencepost.by_length],
            mode="lines+markers",
            name=name,
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate=f"{name}, %{{x}} tokens: %{{y:,.2f}} ms<extra></extra>",
            meta={"column": column},
        )
    return _over_tokens(figure, height=320).update_yaxes(rangemode="tozero")


def _points(
    valid: bool, x: Sequence[Any], y: Sequence[float | None], labels: Sequence[str], hover: str
) -> go.Scatter:
    """A point for each row, in the look of valid or of invalid rows; `hover` shows the `labels`."""
    name, colour, symbol = ("valid", _VALID, "circle") if valid else ("invalid", _INVALID, "x")
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        name=name,
        marker={"color": colour, "symbol": symbol, "size": 7, "opacity": 0.7},
        customdata=labels,
        hovertemplate=hover,
        meta={"column": "difference_ms", "valid": valid},
    )


def _over_tokens(figure: go.Figure, *, height: int) -> go.Figure:
    """Set the axes of a figure by output length."""
    styled(figure, x="output tokens", y="ms", height=height)
    lengths = [x for trace in figure.data for x in trace.x if x is not None]
    # On a short axis plotly would put ticks at half a token.
    few = bool(lengths) and max(lengths) - min(lengths) <= 10
    return figure.update_xaxes(dtick=1) if few else figure


def biases(against: Against) -> go.Figure:
    """Older less captured time of every row in both, a column of points for each time."""
    figure = go.Figure(
        [
            _points(
                valid,
                [row.figure for row in mine],
                [row.difference_ms for row in mine],
                [row.sample_id for row in mine],
                "sample %{customdata}, %{x}: %{y:+,.2f} ms<extra></extra>",
            )
            for valid in (True, False)
            if (mine := [row for row in against.rows if row.valid == valid])
        ]
    )
    styled(figure, y="older less captured, ms", height=340)
    return figure.update_xaxes(categoryarray=list(LIKE_WITH_LIKE), categoryorder="array")


def _summaries(against: Against | None) -> pd.DataFrame:
    """The comparison's summaries as a table, with the intervals' ends as columns."""
    rows = []
    for summary in against.summaries if against else ():
        row = asdict(summary)
        interval = row.pop("interval")
        row["median_difference_lo_ms"] = interval["low"] if interval else None
        row["median_difference_hi_ms"] = interval["high"] if interval else None
        rows.append(row)
    return pd.DataFrame(rows)
