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
#: steps only: those of other steps do not contain what recording costs.
_STEP_LINES = (
    ("latency_ns", "Latency", COLOURS["decode"], "solid"),
    ("window_ns", "While recorded", RECORDED_COLOUR, "dashdot"),
    ("busy_ns", "GPU busy", BUSY_COLOUR, "dot"),
)


#: Most positions that are drawn; of more, every second, third … is. A server's trace has hundreds
#: of thousands; the table `steps` has all.
MOST_DRAWN = 10_000
#: Kind of time of a growth line → the column whose colour it has.
_GROWTH = {"latency": "latency_ns", "busy": "busy_ns"}


def decode_by_position(steps: pd.DataFrame, growth: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Decode steps by position: medians over the runs, each line with a band.

    The latency's band is its 95 % interval (of several samples the median of each end); the other
    bands hold the middle half of the runs.

    Args:
        growth: rows of stats.capture.statistics.ScalingFit; those of a step against its position
            are drawn as lines, with a wedge for the slope's interval.
    """
    figure = Figure()
    decode, stride = drawn_steps(steps), drawing_stride(steps)
    for look in _STEP_LINES:
        known = decode.dropna(subset=[look[0]])
        if len(known):
            _band(figure, known, look, stride)
    for row in growth:
        of_position = (row["of"], row["against"]) == ("decode step", "position")
        # Without an interval there are too few points: a line would claim growth or decline.
        if of_position and row["time"] in _GROWTH and row["slope_lo_us"] is not None:
            _line(figure, row, decode)
    x_title = "decode step" if stride == 1 else f"decode step, one of {stride} drawn"
    return _from_zero(styled(figure, x=x_title, y="ms", height=380))


def drawing_stride(steps: pd.DataFrame) -> int:
    """Distance between two positions that are drawn; 1 where all are."""
    positions = steps.loc[steps["stage"] == "decode", "step"]
    return 1 if positions.empty else int(positions.max()) // MOST_DRAWN + 1


def drawn_steps(steps: pd.DataFrame) -> pd.DataFrame:
    """The decode steps that are drawn, with windows of the recorded ones only."""
    decode = steps[steps["stage"] == "decode"]
    stride = drawing_stride(steps)
    if stride > 1:
        decode = decode[decode["step"] % stride == 0]
    return decode.assign(window_ns=decode["window_ns"].where(decode["recorded"]))


def _line(figure: Figure, row: Mapping[str, Any], steps: pd.DataFrame) -> None:
    """Draw a growth line, and a wedge about its middle for the interval of its slope."""
    (look,) = [look for look in _STEP_LINES if look[0] == _GROWTH[row["time"]]]
    _, name, colour, _ = look
    known = steps[steps[look[0]].notna()]["step"].astype(float)
    if known.empty:
        return
    x = np.array([known.min(), known.max()])
    level = row["intercept_ms"] + row["slope_us"] / 1000 * x.mean()
    from_middle = (x - x.mean())[[0, 1, 1, 0]]
    slopes = np.array([row[f"slope_{end}_us"] for end in ("lo", "lo", "hi", "hi")]) / 1000
    _filled(
        figure, x[[0, 1, 1, 0]], level + slopes * from_middle, colour, f"{name}: growth", "growth"
    )
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
    """Draw a band or wedge: the area within the points."""
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
    """Set the axes: y from 0, so that lines compare by height; whole numbers on x.

    y ends just above the highest line; a band that reaches higher is cut off.
    """
    lines = [t for t in figure.data if not t["meta"].get("band")]
    highest = max((float(np.nanmax(t["y"])) for t in lines if _has_numbers(t["y"])), default=0.0)
    figure.update_yaxes(rangemode="tozero")
    if highest:
        figure.update_yaxes(range=[0, highest * _ROOM_ABOVE])
    steps = [float(x) for t in lines for x in t["x"]]
    return figure.update_xaxes(**whole_ticks(min(steps, default=0), max(steps, default=0)))


#: End of the y axis ÷ the highest line.
_ROOM_ABOVE = 1.25


def _has_numbers(values: Any) -> bool:
    return bool(np.isfinite(np.asarray(values, float)).any())


def whole_ticks(least: float, most: float) -> dict[str, Any]:
    """Settings of an axis of whole numbers: a short one would show the same number twice."""
    few = most - least <= 12
    return {"tickformat": "d", "dtick": 1} if few else {"tickformat": "d", "nticks": 12}


def _band(
    figure: Figure, steps: pd.DataFrame, look: tuple[str, str, str, str], stride: int
) -> None:
    """Draw one line of medians over the runs, with its band."""
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
    """Low and high ends of a band, in ms; empty for busy and window times of a single run."""
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
