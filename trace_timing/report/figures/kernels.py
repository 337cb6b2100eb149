"""Figure of the kernels that take the most time, and short kernel names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trace_timing.report.figures.overview import styled
from trace_timing.report.figures.plain import Figure
from trace_timing.report.palette import COLOURS, LABELS, in_order
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import pandas as pd


def top_kernels(kernels: pd.DataFrame, *, per_stage: int = 6) -> Figure:
    """Bars of the kernels that take the most time over all runs, the top few of each stage."""
    totals = kernels.groupby(["stage", "name"], observed=True)["total_ns"].sum().reset_index()
    figure, names = Figure(), list[str]()
    for stage in in_order(set(totals["stage"])):
        top = totals[totals["stage"] == stage].nlargest(per_stage, "total_ns")
        figure.add_bar(
            x=top["total_ns"].to_numpy(float) / NS_PER_MS,
            y=np.arange(len(names), len(names) + len(top)),
            orientation="h",
            name=LABELS[stage],
            marker={"color": COLOURS[stage]},
            customdata=[name[:160] for name in top["name"]],
            hovertemplate="%{customdata}<br>%{x:,.3f} ms<extra></extra>",
            meta={"column": "total_ns", "stage": stage},
        )
        names += [short(name) for name in top["name"]]
    figure.update_layout(barmode="overlay", bargap=0.25, meta={"keys": "below"})
    styled(figure, x="total over all runs, ms", height=120 + 22 * len(names))
    # By position: two kernels of one stage may share a short name.
    return figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=names,
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
        tickfont={"size": 11},
    )


def short(name: str, limit: int = 36) -> str:
    """A kernel's name without return type, namespaces and arguments, for an axis."""
    plain = name.removeprefix("void ").replace("(anonymous namespace)::", "")
    head = plain.split("(")[0].split("<")[0].split("::")[-1].strip() or name
    return head if len(head) <= limit else head[: limit - 1] + "…"
