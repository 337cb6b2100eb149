"""Figures of the decode steps: over all runs by position, and of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_timing.report.figures.overview import styled
from trace_timing.report.figures.plain import Figure
from trace_timing.report.palette import BUSY_COLOUR, COLOURS, RECORDED_COLOUR
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import pandas as pd

#: Column, name, colour, dash of each line that both figures draw. Windows are drawn of recorded
#: steps alone: others have one, but not as recording made it.
_STEP_LINES = (
    ("latency_ns", "Latency", COLOURS["decode"], "solid"),
    ("window_ns", "While recorded", RECORDED_COLOUR, "dashdot"),
    ("busy_ns", "GPU busy", BUSY_COLOUR, "dot"),
)


#: Positions that are drawn; of more, every second, third … The table `steps` has all. A server's
#: trace has hundreds of thousands.
MOST_DRAWN = 10_000
#: Kind of time of a line of growth → the column whose look it has.
_GROWTH = {"latency": "latency_ns", "busy": "busy_ns"}


def decode_by_position(steps: pd.DataFrame, growth: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Decode steps by position: medians over the runs. The latency's band is its 95 % interval (of
    several samples the median of each end), that of others holds half of the runs.

    Args:
        growth: rows of stats.statistics.ScalingFit; those of a step against its position are drawn
            as lines, with what the ends of the slope's interval come to.
    """
    figure = Figure()
    decode, stride = drawn_steps(steps), drawing_stride(steps)
    for look in _STEP_LINES:
        known = decode.dropna(subset=[look[0]])
        if len(known):
            _band(figure, known, look, stride)
    for row in growth:
        of_position = (row["of"], row["against"]) == ("decode step", "position")
        # Without an interval there were too few points: a line would claim a growth or fall.
        if of_position and row["time"] in _GROWTH and row["slope_lo_us"] is not None:
            _line(figure, row, decode)
    said = "decode step" if stride == 1 else f"decode step, one of {stride} drawn"
    return _from_zero(styled(figure, x=said, y="ms", height=380))


def drawing_stride(steps: pd.DataFrame) -> int:
    """One of so many positions of decode steps is drawn."""
    positions = steps.loc[steps["stage"] == "decode", "step"]
    return 1 if positions.empty else int(positions.max()) // MOST_DRAWN + 1


def drawn_steps(steps: pd.DataFrame) -> pd.DataFrame:
    """The decode steps that are drawn, without the windows of those that were not recorded."""
    decode = steps[steps["stage"] == "decode"]
    stride = drawing_stride(steps)
    if stride > 1:
        decode = decode[decode["step"] % stride == 0]
    return decode.assign(window_ns=decode["window_ns"].where(decode["recorded"]))


def _line(figure: Figure, row: Mapping[str, Any], steps: pd.DataFrame) -> None:
    """A line of growth, and a wedge about its middle: the interval of its slope."""
    (look,) = [look for look in _STEP_LINES if look[0] == _GROWTH[row["time"]]]
    _, name, colour, _ = look
    known = steps[steps[look[0]].notna()]["step"].astype(float)
    if known.empty:
        return
    x = np.array([known.min(), known.max()])
    level = row["intercept_ms"] + row["slope_us"] / 1000 * x.mean()
    away = (x - x.mean())[[0, 1, 1, 0]]
    slopes = np.array([row[f"slope_{end}_us"] for end in ("lo", "lo", "hi", "hi")]) / 1000
    _filled(figure, x[[0, 1, 1, 0]], level + slopes * away, colour, f"{name}: growth", "growth")
    figure.add_scatter(
        x=x,
        y=level + row["slope_us"] / 1000 * (x - x.mean()),
        mode="lines",
        name=f"{name}: growth",
        legendgroup=f"{name}: growth",
        line={"color": colour, "dash": "dash", "width": 1.5},
        hovertemplate=f"{name}: {row['slope_us']:+.3f} µs a position<extra></extra>",
        meta={"growth": row["time"]},
    )


def _filled(figure: Figure, x: Any, y: Any, colour: str, group: str, column: str) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        fill="toself",
        fillcolor=_faint(colour),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=group,
        meta={"column": column, "band": True},
    )


def _from_zero(figure: Figure) -> Figure:
    """Busy and window compare by length, so both begin at 0; steps are whole numbers.

    The axis ends above the highest line: a band that is wider leaves the chart at the top.
    """
    lines = [t for t in figure.data if not t["meta"].get("band")]
    highest = max((float(np.nanmax(t["y"])) for t in lines if _has_numbers(t["y"])), default=0.0)
    figure.update_yaxes(rangemode="tozero")
    if highest:
        figure.update_yaxes(range=[0, highest * _ROOM_ABOVE])
    steps = [float(x) for t in lines for x in t["x"]]
    return figure.update_xaxes(**whole_ticks(min(steps, default=0), max(steps, default=0)))


#: The y axis ends so many times as high as the highest line.
_ROOM_ABOVE = 1.25


def _has_numbers(values: Any) -> bool:
    return bool(np.isfinite(np.asarray(values, float)).any())


def whole_ticks(least: float, most: float) -> dict[str, Any]:
    """Settings of an axis of whole numbers: between 2 and 3 plotly would repeat one of them."""
    few = most - least <= 12
    return {"tickformat": "d", "dtick": 1} if few else {"tickformat": "d", "nticks": 12}


def _band(
    figure: Figure, steps: pd.DataFrame, look: tuple[str, str, str, str], stride: int
) -> None:
    column, name, colour, dash = look
    grouped = steps.assign(ms=steps[column].astype(float) / NS_PER_MS).groupby("step")["ms"]
    spread = grouped.quantile(np.array([0.25, 0.5, 0.75])).unstack()
    x = spread.index.to_numpy()
    low, high = _band_ends(steps, column, spread, alone=int(grouped.size().max()) == 1)
    if low.notna().any():
        _filled(
            figure,
            np.concatenate([low.index, high.index[::-1]]),
            np.concatenate([high.to_numpy(float), low.to_numpy(float)[::-1]]),
            colour,
            name,
            column,
        )
    # Steps between recorded ones are not drawn: a line across a gap would claim to know them.
    whole = np.arange(x.min(), x.max() + 1, stride)
    middle = spread[0.5].reindex(whole)
    figure.add_scatter(
        x=whole,
        y=middle.to_numpy(),
        mode="lines+markers" if len(x) < 80 else "lines",
        name=name,
        legendgroup=name,
        line={"color": colour, "dash": dash, "width": 2},
        marker={"size": 5},
        customdata=grouped.size().reindex(whole, fill_value=0).to_numpy(),
        hovertemplate=f"{name}, step %{{x}}: %{{y:,.3f}} ms, median of %{{customdata}}"
        "<extra></extra>",
        meta={"column": column},
    )


def _band_ends(
    steps: pd.DataFrame, column: str, spread: pd.DataFrame, *, alone: bool
) -> tuple[pd.Series, pd.Series]:
    """Of a latency its interval, else half of the runs; empty where a run is alone."""
    if column == "latency_ns":
        ends = steps.groupby("step")[["latency_lo_ns", "latency_hi_ns"]].median().astype(float)
        return ends["latency_lo_ns"] / NS_PER_MS, ends["latency_hi_ns"] / NS_PER_MS
    if alone:
        return spread[0.5].iloc[:0], spread[0.5].iloc[:0]
    return spread[0.25], spread[0.75]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def run_steps(steps: pd.DataFrame) -> Figure:
    """One run's decode steps: latency, recorded window and GPU busy. `steps`: rows of a run."""
    decode = drawn_steps(steps).sort_values("step")
    figure = Figure()
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
