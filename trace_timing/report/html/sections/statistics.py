"""The page Statistics: spread of each time, controls, noise floor, growth with size, outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from trace_timing.report.figures.overview import styled
from trace_timing.report.figures.plain import Figure
from trace_timing.report.model import Section
from trace_timing.report.palette import BUSY_COLOUR, COLOURS, RECORDED_COLOUR
from trace_timing.report.terminal.statistics import statistics_lines
from trace_timing.stats.capture.growth_groups import prefill_groups, step_groups
from trace_timing.stats.capture.statistics import ScalingFit, Statistics
from trace_timing.stats.capture.summaries import summary_table

#: Kind of time → colour and dash, the same as in the figures of steps.
_LOOKS = {
    "latency": (COLOURS["decode"], "solid"),
    "recorded": (RECORDED_COLOUR, "dashdot"),
    "busy": (BUSY_COLOUR, "dot"),
}
#: Most points that are drawn large: three small ones would be overlooked.
FEW_POINTS = 30
_SIZES = {
    "input_tokens": "input tokens",
    "position": "position of the step",
    "kv_length": "cache length",
}


def statistics_section(
    statistics: Statistics, samples: pd.DataFrame, steps: pd.DataFrame
) -> Section:
    """The section `statistics`.

    Args:
        samples, steps: schema.SAMPLES and STEPS.
    """
    tables = {
        "Times over samples": summary_table(samples),
        "Controls of one input": pd.DataFrame([one.row() for one in statistics.repeats]),
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
            "deviation, cv the standard deviation ÷ mean. Controls of one input: cv and "
            "percentiles of a run ÷ its sample's median, over all samples; half_width_K is that "
            "of the 95 % interval of a sample with K controls.",
        ),
        tables={title: table for title, table in tables.items() if len(table)},
        figures={
            **_figures(statistics.scaling),
            **_by_configuration(samples, steps),
            **_narrowing(statistics),
        },
    )


def _figures(fits: Sequence[ScalingFit]) -> dict[str, Figure]:
    """A figure for each pair of time and size, with the fits of all its kinds of time."""
    figures: dict[str, Figure] = {}
    for fit in fits:
        title = f"{fit.of.capitalize()} against {_SIZES[fit.against]}"
        if title not in figures:
            figures[title] = _figure(_SIZES[fit.against])
        _add(figures[title], fit)
    return figures


def _by_configuration(samples: pd.DataFrame, steps: pd.DataFrame) -> dict[str, Figure]:
    """Figures of prefill and decode step by configuration; none for a time without latencies."""
    from trace_timing.report.figures.growth import by_configuration

    groups = {
        ("Prefill", "input_tokens"): prefill_groups(samples),
        ("Decode step", "position"): step_groups(samples, steps),
    }
    return {
        f"{of} against {_SIZES[size]}, by configuration": by_configuration(
            grouped, x=_SIZES[size], lines=size == "position"
        )
        for (of, size), grouped in groups.items()
        if grouped
    }


def _narrowing(statistics: Statistics) -> dict[str, Figure]:
    from trace_timing.report.figures.growth import narrowing

    title = "How the interval narrows with the controls of a sample"
    return {title: narrowing(statistics.repeats)} if statistics.repeats else {}


def _figure(size: str) -> Figure:
    return styled(Figure(), x=size, y="ms", height=320)


def _add(figure: Figure, fit: ScalingFit) -> None:
    """Draw the points of a fit, and its line."""
    colour, dash = _LOOKS[fit.kind]
    few = len(fit.x) <= FEW_POINTS
    figure.add_scatter(
        x=fit.x,
        y=fit.y,
        mode="markers",
        name=fit.kind,
        legendgroup=fit.kind,
        marker={"color": colour, "size": 10 if few else 6, "opacity": 0.9 if few else 0.6},
        hovertemplate=f"{fit.kind}, {_SIZES[fit.against]} %{{x}}: %{{y:,.3f}} ms<extra></extra>",
        meta={"column": f"{fit.kind}_ms"},
    )
    if fit.line.slope_interval is None:
        # Too few points: a line would claim growth or decline that they do not show.
        return
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
