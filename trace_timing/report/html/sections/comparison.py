"""A comparison as a page: sentences, figures of ratios and times, every verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from trace_timing.report.figures.kernels import short
from trace_timing.report.figures.overview import styled
from trace_timing.report.findings import sentence
from trace_timing.report.model import Section
from trace_timing.report.terminal.comparison import (
    compared_what,
    family_sentence,
    gate_line,
    is_change,
    launch_sentence,
    needed_sentences,
)
from trace_timing.stats.comparison.compare import ComparedRow, ComparisonResult, Verdict
from trace_timing.stats.comparison.gates import GateOutcome

#: Colour and marker of each verdict: hue, lightness and shape all differ.
LOOKS: dict[Verdict, tuple[str, str]] = {
    "slower": ("#d55e00", "triangle-right"),
    "faster": ("#009e73", "triangle-left"),
    "slower, or drift": ("#d55e00", "triangle-right-open"),
    "faster, or drift": ("#009e73", "triangle-left-open"),
    "no difference shown": ("#5b7fa6", "circle"),
    "cannot tell": ("#8a8f9c", "circle-open"),
    "withheld": ("#cc79a7", "x"),
}
_STAGES = ("total", "stage", "minor stage", "undisturbed step", "per token")


def comparison_section(result: ComparisonResult, gates: Sequence[GateOutcome] = ()) -> Section:
    """The page of a comparison; figures and tables without data are left out."""
    stages = [row for row in result.rows if row.level in _STAGES]
    busy = [row for row in result.rows if row.level == "busy"]
    batches = [row for row in result.rows if row.level == "batch"]
    kinds = [row for row in result.rows if row.level == "kind"]
    kernels = [row for row in result.rows if row.level == "kernel"]
    figures = {
        "B ÷ A, stages": ratios([*stages, *busy], result.margin_frac),
        _times_title(result): times(stages),
        "B ÷ A, batch sizes": ratios(batches, result.margin_frac),
        "B ÷ A, kinds of work": ratios(kinds, result.margin_frac),
    }
    tables = {
        "Stages": _table([*stages, *busy]),
        "Batch sizes": _table(batches),
        "Kinds of work": _table(kinds),
        "Kernels": _table(kernels),
        "Conditions that differ": pd.DataFrame([asdict(d) for d in result.differences]),
        "Kernels of one side alone": pd.DataFrame(
            [{"side": s, "kernel": n} for s, ns in _one_sided(result) for n in ns]
        ),
    }
    return Section(
        slug="compare",
        title="Comparison",
        sentences=_sentences(result, gates),
        tables={title: table for title, table in tables.items() if len(table)},
        figures={title: figure for title, figure in figures.items() if len(figure.data)},
    )


def _times_title(result: ComparisonResult) -> str:
    each = "a forward" if result.subject == "steps" else "decode and sampling: a step"
    return f"Times of A and B ({each})"


def ratios(rows: Sequence[ComparedRow], margin_frac: float) -> go.Figure:
    """B ÷ A of each row with its 95 % interval; the band is the margin of `no difference shown`."""
    figure = go.Figure()
    known = [row for row in rows if row.ratio == row.ratio]
    for verdict, (colour, symbol) in LOOKS.items():
        alike = [(i, row) for i, row in enumerate(known) if row.verdict == verdict]
        if not alike:
            continue
        figure.add_scatter(
            x=[row.ratio for _, row in alike],
            y=[i for i, _ in alike],
            error_x={
                "type": "data",
                "array": [_reach(row)[1] for _, row in alike],
                "arrayminus": [_reach(row)[0] for _, row in alike],
                "color": colour,
            },
            mode="markers",
            name=verdict,
            marker={"color": colour, "symbol": symbol, "size": 11},
            customdata=[row.name for _, row in alike],
            hovertemplate="%{customdata}: ×%{x:.3f}, " + verdict + "<extra></extra>",
            meta={"column": "ratio", "verdict": verdict},
        )
    if known:
        figure.add_vrect(
            x0=1 - margin_frac, x1=1 + margin_frac, fillcolor="rgba(128,128,128,0.16)", line_width=0
        )
    styled(figure, x="B ÷ A, with 95 % interval", height=150 + 26 * len(known))
    return figure.update_yaxes(
        tickvals=list(range(len(known))),
        ticktext=[short(row.name) for row in known],
        range=[len(known) - 0.5, -0.5],
        showgrid=False,
    )


def _reach(row: ComparedRow) -> tuple[float, float]:
    """Lengths of a ratio's error bar, down and up; 0 where it has no interval."""
    around = row.ratio_interval
    return (row.ratio - around.low, around.high - row.ratio) if around else (0.0, 0.0)


def times(rows: Sequence[ComparedRow]) -> go.Figure:
    """Median times of A and of B, side by side."""
    figure = go.Figure()
    for name, column, colour in (("A", "a_ms", "#5b7fa6"), ("B", "b_ms", "#e69f00")):
        figure.add_bar(
            x=[row.name for row in rows],
            y=[getattr(row, column) for row in rows],
            name=name,
            marker_color=colour,
            hovertemplate=f"{name}, %{{x}}: %{{y:,.3f}} ms<extra></extra>",
            meta={"column": column},
        )
    figure.update_layout(barmode="group")
    return styled(figure, y="ms, median", height=360)


def _table(rows: Sequence[ComparedRow]) -> pd.DataFrame:
    return pd.DataFrame([_flat(row) for row in rows])


def _flat(row: ComparedRow) -> dict[str, Any]:
    """A row of the page's tables."""
    around = row.ratio_interval
    return {
        "name": row.name,
        "verdict": row.verdict,
        "A_ms": row.a_ms,
        "B_ms": row.b_ms,
        "difference_ms": row.difference_ms,
        "ratio": row.ratio,
        "ratio_lo": around.low if around else None,
        "ratio_hi": around.high if around else None,
        "n": row.n,
        "unit": row.unit,
        "launch_ratio": row.launch_ratio,
        "spread_frac": row.spread_frac,
        "would_tell": row.needed,
        "reason": row.reason,
    }


def _one_sided(result: ComparisonResult) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("A", result.only_a), ("B", result.only_b)


def _sentences(result: ComparisonResult, gates: Sequence[GateOutcome]) -> tuple[str, ...]:
    launches = launch_sentence(result)
    return (
        f"B ({result.b}) against A ({result.a}): {compared_what(result)}.",
        *_verdict_sentences(result),
        *(sentence(gate_line(outcome)) for outcome in gates),
        *map(sentence, result.notes),
        *([launches] if launches else []),
        *map(sentence, needed_sentences(result)),
        family_sentence(result),
    )


def _verdict_sentences(result: ComparisonResult) -> list[str]:
    """A sentence for each verdict, naming the times of total and stages that have it."""
    stages = [row for row in result.rows if row.level in (*_STAGES, "busy")]
    sentences = []
    for verdict in LOOKS:
        names = [_named(row) for row in stages if row.verdict == verdict]
        if names:
            sentences.append(sentence(f"{verdict}: {', '.join(names)}"))
    return sentences


def _named(row: ComparedRow) -> str:
    """Its name; of a change also the ratio and its interval."""
    around = row.ratio_interval
    if not is_change(row) or around is None:
        return row.name
    return f"{row.name} ×{row.ratio:.3f} [{around.low:.3f}, {around.high:.3f}]"
