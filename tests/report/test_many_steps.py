"""A trace of more steps than are drawn: every n-th is in the page, all are in the table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trace_timing.report.figures.steps import (
    MOST_DRAWN,
    decode_by_position,
    drawing_stride,
    drawn_steps,
)


def steps(count: int) -> pd.DataFrame:
    table = pd.DataFrame({"step": pd.array(range(count), "Int64")})
    table = table.assign(stage="decode", recorded=True)
    for name in ("latency_ns", "latency_lo_ns", "latency_hi_ns"):
        table[name] = pd.array([None] * count, "Int64")
    return table.assign(window_ns=table["step"] + 1_000_000, busy_ns=table["step"])


def test_one_in_so_many_is_drawn_and_the_axis_says_so() -> None:
    many = steps(100_000)
    assert drawing_stride(many) == 10
    drawn = drawn_steps(many)
    assert len(drawn) == 10_000
    assert drawn["step"].tolist()[:3] == [0, 10, 20]
    figure = decode_by_position(many).plotly()
    (window,) = (t for t in figure.data if t.name == "While recorded" and not t.fill)
    assert len(window.x) == 10_000
    assert not np.isnan(np.asarray(window.y, float)).any()
    assert figure.layout.xaxis.title.text == "decode step, one of 10 drawn"


def test_up_to_the_most_every_step_is_drawn() -> None:
    assert drawing_stride(steps(MOST_DRAWN)) == 1
    assert len(drawn_steps(steps(MOST_DRAWN))) == MOST_DRAWN
    assert decode_by_position(steps(5)).plotly().layout.xaxis.title.text == "decode step"
    assert drawing_stride(steps(0)) == 1
