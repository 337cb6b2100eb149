"""Figures of growth by configuration, and of the interval's width by number of controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trace_timing.report.figures.overview import styled
from trace_timing.report.figures.plain import Figure
from trace_timing.report.palette import COLOURS, SERIES
from trace_timing.stats.capture.growth_groups import ALL, Group
from trace_timing.stats.capture.repeats import Repeats

if TYPE_CHECKING:
    from trace_timing.arrays import FloatArray

#: Marker shapes of the groups, which must differ without colour too.
SYMBOLS = ("circle", "diamond", "square", "cross", "x", "triangle-up", "star", "hexagon")
#: Times whose half-width is drawn → name and colour.
_DRAWN = {
    "T_total": ("Total", "#6b7d97"),
    "T_vision_total": ("Vision total", COLOURS["vision_encoder"]),
    "T_LLM_prefill": ("Prefill", COLOURS["prefill"]),
    "T_decode_per_token": ("A decode step", COLOURS["decode"]),
}


def by_configuration(groups: Sequence[Group], *, x: str, lines: bool) -> Figure:
    """Latencies by size, one trace per group of a metadata column.

    The groups of the first column are visible; the page lets the reader choose another column.

    Args:
        groups: their intervals are drawn as error bars.
        x: title of the x axis.
        lines: join a group's points.
    """
    figure = Figure()
    columns = list(dict.fromkeys(group.column for group in groups))
    numbers = dict.fromkeys(columns, 0)
    for group in groups:
        number, numbers[group.column] = numbers[group.column], numbers[group.column] + 1
        colour = COLOURS["decode"] if group.column == ALL else SERIES[number % len(SERIES)]
        figure.add_scatter(
            x=group.x,
            y=group.y,
            error_y=_bars(group),
            mode="lines+markers" if lines else "markers",
            name=group.value,
            visible=group.column == columns[0],
            marker={"color": colour, "symbol": SYMBOLS[number % len(SYMBOLS)], "size": 7},
            line={"color": colour, "width": 1.5},
            hovertemplate=f"{group.value}, {x} %{{x}}: %{{y:,.3f}} ms<extra></extra>",
            meta={"colour_by": group.column, "column": "latency_ms"},
        )
    figure.update_layout(showlegend=True, meta={"colour_by": columns})
    styled(figure, x=x, y="latency, ms", height=380)
    return figure.update_yaxes(rangemode="tozero")


def narrowing(repeats: Sequence[Repeats]) -> Figure:
    """Half-width of the 95 % interval by the number of controls of a sample."""
    figure = Figure()
    for one in repeats:
        if one.time not in _DRAWN:
            continue
        name, colour = _DRAWN[one.time]
        figure.add_scatter(
            x=list(one.half_widths),
            y=[100 * half for half in one.half_widths.values()],
            mode="lines+markers",
            name=name,
            line={"color": colour, "width": 2},
            hovertemplate=f"{name}, %{{x}} controls: ± %{{y:.1f}} %<extra></extra>",
            meta={"column": "half_width_frac", "time": one.time},
        )
    styled(figure, x="controls of a sample", y="± %", height=320)
    return figure.update_yaxes(rangemode="tozero")


def _bars(group: Group) -> dict[str, object] | None:
    """Error bars over the intervals; None where no point has one."""
    up: FloatArray = group.high - group.y
    down: FloatArray = group.y - group.low
    if not (np.isfinite(up) & np.isfinite(down)).any():
        return None
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1}
