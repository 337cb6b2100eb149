"""Figures of the decode steps: over all runs by position, and of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from trace_timing.report.figures import styled
from trace_timing.report.palette import COLOURS
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import pandas as pd

#: Column, name, colour, dash of each line that both figures draw.
_STEP_LINES = (
    ("latency_ns", "Latency", COLOURS["decode"], "solid"),
    ("window_ns", "While recorded", "#b6486a", "dashdot"),
    ("busy_ns", "GPU busy", "#6b7d97", "dot"),
)


def decode_by_position(steps: pd.DataFrame) -> go.Figure:
    """Decode latency by step: median over the runs, with the band that holds half of them."""
    figure = go.Figure()
    decode = steps[steps["stage"] == "decode"]
    for column, name, colour, dash in _STEP_LINES:
        known = decode.dropna(subset=[column])
        if len(known):
            _band(figure, known, column, name, colour, dash)
    return _from_zero(styled(figure, x="decode step", y="ms", height=380))


def _from_zero(figure: go.Figure) -> go.Figure:
    """Busy and window compare by length, so both begin at 0; steps are whole numbers."""
    figure.update_yaxes(rangemode="tozero")
    return figure.update_xaxes(tickformat="d", nticks=12, minor_ticks="")


def _band(
    figure: go.Figure, steps: pd.DataFrame, column: str, name: str, colour: str, dash: str
) -> None:
    grouped = steps.assign(ms=steps[column].astype(float) / NS_PER_MS).groupby("step")["ms"]
    spread = grouped.quantile(np.array([0.25, 0.5, 0.75])).unstack()
    x = spread.index.to_numpy()
    if int(grouped.size().max()) > 1:
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([spread[0.75].to_numpy(), spread[0.25].to_numpy()[::-1]]),
            fill="toself",
            fillcolor=_faint(colour),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
            meta={"column": column, "band": True},
        )
    figure.add_scatter(
        x=x,
        y=spread[0.5].to_numpy(),
        mode="lines+markers" if len(x) < 80 else "lines",
        name=name,
        legendgroup=name,
        line={"color": colour, "dash": dash, "width": 2},
        marker={"size": 5},
        customdata=grouped.size().to_numpy(),
        hovertemplate=f"{name}, step %{{x}}: %{{y:,.3f}} ms, median of %{{customdata}}"
        "<extra></extra>",
        meta={"column": column},
    )


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def run_steps(steps: pd.DataFrame) -> go.Figure:
    """One run's decode steps: latency, recorded window and GPU busy. `steps`: rows of a run."""
    decode = steps[steps["stage"] == "decode"].sort_values("step")
    figure = go.Figure()
    for column, name, colour, dash in _STEP_LINES:
        figure.add_scatter(
            x=decode["step"].to_numpy(),
            y=decode[column].astype(float).to_numpy() / NS_PER_MS,
            mode="lines+markers",
            name=name,
            line={"color": colour, "dash": dash, "width": 2},
            marker={"size": 5},
            hovertemplate=f"{name}, step %{{x}}: %{{y:,.3f}} ms<extra></extra>",
            meta={"column": column},
        )
    return _from_zero(styled(figure, x="decode step", y="ms", height=320))
