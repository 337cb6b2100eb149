"""The page of latency_model_fit: predicted against true, and the table of errors."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from benchmarks.latency_model_data import Floats, Labels
from benchmarks.latency_model_errors import Predictions, pairs

TITLES = {
    "subtraction": "trained on labels by subtraction",
    "captured": "trained on labels by trace-timing",
    "truth": "trained on runs never profiled",
}
ROWS = {"prefill_total": "vision + projector + prefill, ms", "per_token": "a decode step, ms"}
#: Told apart with any colour blindness, and by their shape.
LOOKS = {
    "linear with products": ("#0072b2", "circle"),
    "gradient boosting": ("#e69f00", "diamond"),
    "two-layer network": ("#009e73", "square"),
}
WRONG = "subtraction below zero"
HEAD = """<!doctype html><meta charset=utf-8>
<title>What labels are worth to a latency model</title>
<style>body{font:15px system-ui;margin:2rem;max-width:1200px}
td,th{padding:.2rem .6rem;text-align:right}pre{white-space:pre-wrap}</style>
<h1>What labels are worth to a latency model</h1>"""
#: The estimator of the small picture.
PICTURED = "linear with products"
PICTURE = """async () => await Plotly.toImage(
  document.querySelector('.plotly-graph-div'), {format: 'svg', width: 1100, height: 700})"""


def write_page(
    path: Path,
    labels: Labels,
    predicted: Predictions,
    errors: Sequence[Mapping[str, Any]],
    audits: Mapping[str, Any],
    *,
    svg: Path | None = None,
) -> None:
    """Write the page as one offline file, and its figure to `svg`."""
    figure = against_truth(labels, predicted)
    table = pd.DataFrame(errors).to_html(index=False, float_format="%.3f", border=0)
    said = labels.identity
    where = f"{said['device']}, {said['date']}, {said['samples']} samples, {said['runs']} runs each"
    drawn = figure.to_html(full_html=False, include_plotlyjs=True)
    path.write_text(
        f"{HEAD}<p>{html.escape(where)}. Each point is a sample of a configuration that its "
        "estimator never saw, against the mean of runs of a process that never profiles; each "
        "sample stands there twice, once for each half of these runs.</p>"
        f"{drawn}<h2>Errors</h2>{table}<h2>What audit counts</h2>"
        f"<pre>{html.escape(json.dumps(audits, indent=1))}</pre>",
        encoding="utf-8",
    )
    if svg is not None:
        small = against_truth(labels, predicted, kinds=[PICTURED])
        svg.write_text(_svg(small), encoding="utf-8")


def against_truth(
    labels: Labels, predicted: Predictions, kinds: Sequence[str] = tuple(LOOKS)
) -> go.Figure:
    """A row a target, a column a label set, a colour an estimator."""
    titles = list(TITLES.values())
    figure = make_subplots(
        len(ROWS), len(TITLES), column_titles=titles, shared_yaxes=True, horizontal_spacing=0.03
    )
    for row, (quantity, name) in enumerate(ROWS.items(), 1):
        for column, labelled in enumerate(TITLES, 1):
            place = {"row": row, "col": column}
            for kind in kinds:
                made, true = pairs(labels, predicted, labelled, kind, quantity)
                shown = row == column == 1
                _points(figure, true, made, labels, kind, shown=shown, **place)
                if labelled == "subtraction":
                    _wrong(figure, true, made, labels, shown=shown and kind == kinds[0], **place)
            ends = [float(true.min()), float(true.max())]
            line = go.Scatter(x=ends, y=ends, mode="lines", showlegend=False, hoverinfo="skip")
            figure.add_trace(line.update(line={"color": "#888", "width": 1}), **place)
            figure.update_xaxes(title="true: " + name, **place)
        figure.update_yaxes(title="predicted, ms", row=row, col=1)
    figure.update_layout(
        **{"height": 700, "width": 1100, "template": "simple_white"},
        margin={"t": 40, "l": 60, "r": 20},
        legend={"orientation": "h", "y": -0.12},
    )
    return figure


def _points(
    figure: go.Figure,
    true: Floats,
    values: Floats,
    labels: Labels,
    kind: str,
    *,
    shown: bool,
    **place: int,
) -> None:
    colour, symbol = LOOKS[kind]
    points = go.Scatter(
        x=true.round(4),
        y=values.round(4),
        mode="markers",
        name=kind,
        legendgroup=kind,
        showlegend=shown,
        marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.7},
        text=list(labels.sample_ids) * 2,
        hovertemplate="%{text}: %{y:.2f} predicted, %{x:.2f} true<extra></extra>",
    )
    figure.add_trace(points, **place)


def _wrong(
    figure: go.Figure,
    true: Floats,
    values: Floats,
    labels: Labels,
    *,
    shown: bool,
    **place: int,
) -> None:
    """A ring around the rows whose parts exceeded their total."""
    if not labels.negative.any():
        return
    wrong = np.tile(labels.negative, 2)
    rings = go.Scatter(
        x=true[wrong],
        y=values[wrong],
        mode="markers",
        name=WRONG,
        legendgroup=WRONG,
        showlegend=shown,
        marker={"color": "#c1121f", "symbol": "circle-open", "size": 11, "line": {"width": 1.5}},
        hoverinfo="skip",
    )
    figure.add_trace(rings, **place)


def _svg(figure: go.Figure) -> str:
    """The figure as SVG, drawn by a browser."""
    from playwright.sync_api import sync_playwright

    chromium = Path("/usr/bin/chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium) if chromium.exists() else None, args=["--no-sandbox"]
        )
        shown = browser.new_page()
        shown.set_content(figure.to_html(include_plotlyjs=True))
        address: str = shown.evaluate(PICTURE)
        browser.close()
    return unquote(address.split(",", 1)[1]) + "\n"
