"""The page of statistics: spread of each time, noise floor, outliers, growth with size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from trace_timing.report.figures.overview import styled
from trace_timing.report.figures.plain import Figure
from trace_timing.report.model import Section
from trace_timing.report.palette import COLOURS
from trace_timing.report.terminal.statistics import statistics_lines
from trace_timing.stats.capture.statistics import ScalingFit, Statistics
from trace_timing.stats.capture.summaries import summary_table

#: Kind of time → colour and dash, as the step figures have them.
_LOOKS = {
    "latency": (COLOURS["decode"], "solid"),
    "recorded": ("#b6486a", "dashdot"),
    "busy": ("#6b7d97", "dot"),
}
_SIZES = {
    "input_tokens": "input tokens",
    "position": "position of the step",
    "kv_length": "cache length",
}


def statistics_section(statistics: Statistics, samples: pd.DataFrame) -> Section:
    """The section `statistics`.

    Args:
        samples: schema.SAMPLES.
    """
    tables = {
        "Times over samples": summary_table(samples),
        "Noise floor": pd.DataFrame(
            [
                {"figure": f.figure, "floor_frac": f.frac, "of": f.of, "samples": f.samples}
                for f in statistics.noise_floor
            ]
        ),
        "Growth with size": pd.DataFrame([fit.row() for fit in statistics.scaling]),
        "Outliers": pd.DataFrame(
            [
                {**asdict(o), "causes": ", ".join(o.causes) or "none known"}
                for o in statistics.outliers
            ]
        ),
    }
    return Section(
        slug="statistics",
        title="Statistics",
        sentences=(
            *statistics_lines(statistics),
            "Medians with 95 % intervals (order statistics, from six values on); a sample's ranks "
            "are reduced to their median first, so n counts samples. mad is the median absolute "
            "deviation.",
        ),
        tables={title: table for title, table in tables.items() if len(table)},
        figures=_figures(statistics.scaling),
    )


def _figures(fits: Sequence[ScalingFit]) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for fit in fits:
        title = f"{fit.of.capitalize()} against {_SIZES[fit.against]}"
        if title not in found:
            found[title] = _figure(_SIZES[fit.against])
        _add(found[title], fit)
    return found


def _figure(size: str) -> Figure:
    return styled(Figure(), x=size, y="ms", height=320)


def _add(figure: Figure, fit: ScalingFit) -> None:
    colour, dash = _LOOKS[fit.kind]
    figure.add_scatter(
        x=fit.x,
        y=fit.y,
        mode="markers",
        name=fit.kind,
        legendgroup=fit.kind,
        marker={"color": colour, "size": 6, "opacity": 0.6},
        hovertemplate=f"{fit.kind}, {_SIZES[fit.against]} %{{x}}: %{{y:,.3f}} ms<extra></extra>",
        meta={"column": f"{fit.kind}_ms"},
    )
    ends = [float(min(fit.x)), float(max(fit.x))]
    figure.add_scatter(
        x=ends,
        y=[fit.line.at(x) for x in ends],
        mode="lines",
        legendgroup=fit.kind,
        showlegend=False,
        line={"color": colour, "dash": dash, "width": 2},
        hoverinfo="skip",
        meta={"line": f"{fit.kind}_ms"},
    )
