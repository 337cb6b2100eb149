"""The timeline of one run: stages, device, streams, host ranges and marks, one under the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from trace_timing.arrays import FloatArray, IntArray
from trace_timing.report.figures.kernels import short
from trace_timing.report.figures.overview import styled
from trace_timing.report.figures.plain import Figure
from trace_timing.report.model import Index, SampleDetail
from trace_timing.report.palette import BUSY, COLOURS, EMPTY, LABELS, QUEUED, UNKNOWN, in_order
from trace_timing.stages import Stage
from trace_timing.timeline.build.model import State
from trace_timing.units import NS_PER_MS, NS_PER_US

STATE_NAMES = {
    State.BUSY: "GPU busy",
    State.QUEUED: "idle, work queued",
    State.EMPTY: "idle, empty",
    State.UNKNOWN: "not recorded",
}
_STATE_COLOURS = {
    State.BUSY: BUSY,
    State.QUEUED: QUEUED,
    State.EMPTY: EMPTY,
    State.UNKNOWN: UNKNOWN,
}


#: Traces of a figure as plotly.js takes them.
Traces = list[dict[str, Any]]


def timeline(detail: SampleDetail) -> Figure:
    """A row for the stages, one for the device, one a stream, and the host's ranges and marks.

    Ops are drawn by WebGL, so that tens of thousands can be zoomed; each is a line from start to
    end whose hover names the kernel. x is ms since the window begins.
    """
    traces: Traces = []
    rows = _Rows()
    _stage_bands(traces, detail, rows.add("stages"))
    if len(detail.op_start_ns):
        _device_states(traces, detail, rows.add("device"))
        lanes = [rows.add(_lane_name(detail, lane)) for lane in range(len(detail.lanes))]
        _ops(traces, detail, np.array(lanes, float))
    _host_ranges(traces, detail, rows)
    if len(detail.mark_start_ns):
        _marks(traces, detail, rows.add("sync, alloc"))
    return _laid_out(Figure(traces), detail, rows)


def _laid_out(figure: Figure, detail: SampleDetail, rows: _Rows) -> Figure:
    styled(figure, x="ms since the window begins", height=120 + 44 * len(rows.names))
    figure.update_xaxes(range=[0, detail.window_ns / NS_PER_MS])
    figure.update_yaxes(
        tickvals=list(range(0, -len(rows.names), -1)),
        ticktext=rows.names,
        range=[-len(rows.names) + 0.4, 0.6],
        fixedrange=True,
        showgrid=False,
        zeroline=False,
    )
    return figure.update_layout(barmode="overlay", dragmode="zoom", hovermode="closest")


class _Rows:
    """Names of the rows from the top down; y of the k-th is −k."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def add(self, name: str) -> float:
        """Add a row below the others and return its y."""
        self.names.append(name)
        return 1.0 - len(self.names)


def _lane_name(detail: SampleDetail, lane: int) -> str:
    device, stream = detail.lanes[lane]
    several = len({d for d, _ in detail.lanes}) > 1
    return f"GPU {device}, stream {stream}" if several else f"stream {stream}"


def _stage_bands(traces: Traces, detail: SampleDetail, y: float) -> None:
    """Draw the stages; adjoining tiles of one key are one band."""
    key = detail.tile_key
    first = np.flatnonzero(np.diff(key, prepend=-2) != 0)
    last = np.append(first[1:], len(key)) - 1
    start, end = detail.tile_start_ns[first], detail.tile_end_ns[last]
    stage = _stages(detail, key[first])
    label = np.array([detail.label_of(k) if k >= 0 else "other" for k in key[first]], dtype=object)
    for one in in_order(set(stage)):
        mine = stage == one
        _bars(traces, start[mine], end[mine], y, 0.8, label[mine], COLOURS[one], LABELS[one])


def _stages(detail: SampleDetail, key: Index) -> Any:
    """Stage of each index into the keys; `other` for −1."""
    by_key = np.array([k.stage for k in detail.keys] + ["other"], dtype=object)
    return by_key[key]


def _bars(
    traces: Traces,
    start: IntArray,
    end: IntArray,
    y: float,
    width: float,
    label: Any,
    colour: str,
    name: str,
    *,
    legend: bool = True,
) -> None:
    traces.append(
        {
            "type": "bar",
            "base": start / NS_PER_MS,
            "x": (end - start) / NS_PER_MS,
            "y": np.full(len(start), y),
            "width": width,
            "orientation": "h",
            "name": name,
            "legendgroup": name,
            "showlegend": legend,
            "marker": {"color": colour, "line": {"width": 0}},
            "text": list(label),
            "textposition": "none",
            # %{x} of a bar with a base is its end, not its length.
            "customdata": (end - start) / NS_PER_MS,
            "hovertemplate": "%{text}: %{customdata:,.3f} ms from %{base:,.3f}<extra></extra>",
            "meta": {"row": "stages" if legend else "host"},
        }
    )


def _device_states(traces: Traces, detail: SampleDetail, y: float) -> None:
    """Draw busy and idle over the window; adjoining tiles of one state are one piece."""
    first = np.flatnonzero(np.diff(detail.tile_state.astype(np.int64), prepend=-1) != 0)
    last = np.append(first[1:], len(detail.tile_state)) - 1
    start, end = detail.tile_start_ns[first], detail.tile_end_ns[last]
    state = detail.tile_state[first]
    for one in State:
        mine = state == one
        if mine.any():
            name = STATE_NAMES[one]
            _lines(traces, start[mine], end[mine], y, name, _STATE_COLOURS[one], name, 16, "device")


def _ops(traces: Traces, detail: SampleDetail, lane_y: FloatArray) -> None:
    """Draw the ops, one trace a stage."""
    stage = _stages(detail, detail.op_key)
    short_names = [name if len(name) <= 90 else short(name, 90) for name in detail.names]
    names = np.array(short_names, dtype=object)
    for one in in_order(set(stage)):
        mine = np.flatnonzero(stage == one)
        _lines(
            traces,
            detail.op_start_ns[mine],
            detail.op_end_ns[mine],
            lane_y[detail.op_lane[mine]],
            names[detail.op_name[mine]],
            COLOURS[one],
            LABELS[one],
            14,
            "ops",
        )


def _lines(
    traces: Traces,
    start: IntArray,
    end: IntArray,
    y: FloatArray | float,
    text: str | Any,
    colour: str,
    name: str,
    width: int,
    row: str,
) -> None:
    """Draw each piece as a line from start over the middle to end, with a gap after it.

    Args:
        text: shown on hovering: one for all, or an array, one a piece.
    """
    x = np.full((len(start), 4), np.nan)
    x[:, 0], x[:, 1], x[:, 2] = start, (start + end) // 2, end
    ys = np.repeat(np.broadcast_to(np.asarray(y, float), (len(start),)), 4)
    traces.append(
        {
            "type": "scattergl",
            "x": x.reshape(-1) / NS_PER_MS,
            "y": ys,
            "mode": "lines",
            "line": {"color": colour, "width": width},
            "name": name,
            "legendgroup": name,
            "showlegend": row == "device",
            # Repeated, since hovering shows `-` where all points share one text.
            "text": np.repeat(np.broadcast_to(np.asarray(text, object), (len(start),)), 4),
            "customdata": np.repeat((end - start) / NS_PER_US, 4),
            "hovertemplate": "%{text}<br>%{customdata:,.3f} µs, at %{x:,.4f} ms<extra></extra>",
            "meta": {"row": row, "pieces": len(start)},
        }
    )


def _host_ranges(traces: Traces, detail: SampleDetail, rows: _Rows) -> None:
    """Draw the stage ranges, a row for each depth of nesting."""
    for depth in range(int(detail.range_depth.max()) + 1 if len(detail.range_depth) else 0):
        y = rows.add("host" if depth == 0 else f"host, inside {depth}")
        here = detail.range_depth == depth
        stage = np.where(detail.range_key < 0, "generate", _stages(detail, detail.range_key))
        for one in sorted(set(stage[here])):
            mine = here & (stage == one)
            label = np.array([detail.label_of(k) for k in detail.range_key[mine]], dtype=object)
            name = "generate" if one == "generate" else LABELS[_stage(one)]
            colour = "#9aa3b2" if one == "generate" else COLOURS[_stage(one)]
            start, end = detail.range_start_ns[mine], detail.range_end_ns[mine]
            _bars(traces, start, end, y, 0.5, label, colour, name, legend=False)


def _stage(name: str) -> Stage:
    """The name, typed as a stage."""
    return name  # type: ignore[return-value]


def _marks(traces: Traces, detail: SampleDetail, y: float) -> None:
    """Draw the synchronizing and allocator calls."""
    for alloc, name, symbol, colour in (
        (False, "synchronizing call", "line-ns", "#b6486a"),
        (True, "allocator call", "diamond", "#8563cc"),
    ):
        mine = detail.mark_is_alloc == alloc
        if not mine.any():
            continue
        start, end = detail.mark_start_ns[mine], detail.mark_end_ns[mine]
        traces.append(
            {
                "type": "scattergl",
                "x": start / NS_PER_MS,
                "y": np.full(len(start), y),
                "mode": "markers",
                "marker": {
                    "symbol": symbol,
                    "size": 11,
                    "color": colour,
                    "line": {"width": 1.5, "color": colour},
                },
                "name": name,
                "text": [detail.names[i] for i in detail.mark_name[mine]],
                "customdata": (end - start) / NS_PER_US,
                "hovertemplate": "%{text}<br>%{customdata:,.1f} µs, at %{x:,.4f} ms<extra></extra>",
                "meta": {"row": "marks", "pieces": len(start)},
            }
        )
