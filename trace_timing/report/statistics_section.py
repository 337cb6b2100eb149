"""The page of statistics: spread of each time, noise floor, outliers, growth with size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import pandas as pd

from trace_timing.report.figures import styled
from trace_timing.report.model import Section
from trace_timing.report.palette import COLOURS
from trace_timing.report.statistics_text import statistics_lines
from trace_timing.stats.growth_groups import prefill_groups, step_groups
from trace_timing.stats.statistics import ScalingFit, Statistics
from trace_timing.stats.summaries import summary_table

if TYPE_CHECKING:
    import plotly.graph_objects as go

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


def _figures(fits: Sequence[ScalingFit]) -> dict[str, go.Figure]:
    found: dict[str, go.Figure] = {}
    for fit in fits:
        title = f"{fit.of.capitalize()} against {_SIZES[fit.against]}"
        if title not in found:
            found[title] = _figure(_SIZES[fit.against])
        _add(found[title], fit)
    return found


def _by_configuration(samples: pd.DataFrame, steps: pd.DataFrame) -> dict[str, go.Figure]:
    """Growth by configuration, with the intervals; none of what has no latency."""
    from trace_timing.report.growth_figures import by_configuration

    groups = {
        ("Prefill", "input_tokens"): prefill_groups(samples),
        ("Decode step", "position"): step_groups(samples, steps),
    }
    return {
        f"{of} against {_SIZES[size]}, by configuration": by_configuration(
            found, x=_SIZES[size], lines=size == "position"
        )
        for (of, size), found in groups.items()
        if found
    }


def _narrowing(statistics: Statistics) -> dict[str, go.Figure]:
    from trace_timing.report.growth_figures import narrowing

    title = "How the interval narrows with the controls of a sample"
    return {title: narrowing(statistics.repeats)} if statistics.repeats else {}


def _figure(size: str) -> go.Figure:
    import plotly.graph_objects as go

    return styled(go.Figure(), x=size, y="ms", height=320)


def _add(figure: go.Figure, fit: ScalingFit) -> None:
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
