"""The figures that compare runs and stages.

Each takes tables of trace_timing.schema and returns a plain.Figure; times are milliseconds, one
colour a stage (palette.COLOURS). `meta` of a trace names the column it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from trace_timing.report.figures.plain import Figure
from trace_timing.report.palette import COLOURS, LABELS, in_order
from trace_timing.report.rows import RUN
from trace_timing.stages import STAGES, Stage
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import pandas as pd

#: More runs than this are drawn as one stepped area a stage: a bar each costs the browser seconds.
BARS_AT_MOST = 150

#: A plain one, or one of plotly's own.
AnyFigure = TypeVar("AnyFigure", bound=Any)


def styled(figure: AnyFigure, *, x: str = "", y: str = "", height: int = 360) -> AnyFigure:
    """The look all figures share: no background of their own, room for the labels."""
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#6b7280"},
        margin={"l": 56, "r": 16, "t": 12, "b": 56},
        height=height,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        hoverlabel={"font": {"size": 13}},
    )
    grid = {"gridcolor": "rgba(128,128,128,0.22)", "zerolinecolor": "rgba(128,128,128,0.4)"}
    figure.update_xaxes(title={"text": x, "standoff": 8}, automargin=True, **grid)
    figure.update_yaxes(title={"text": y, "standoff": 8}, automargin=True, **grid)
    return figure


def split(stages: pd.DataFrame) -> Figure:
    """One run's window, split by stage: a bar whose pieces sum to it. `stages`: rows of a run."""
    figure = Figure()
    total = stages["window_ns"].sum()
    windows = stages.dropna(subset=["window_ns"]).set_index("stage")["window_ns"]
    for stage in in_order(set(windows.index)):
        ms = windows[stage] / NS_PER_MS
        share = windows[stage] / total if total else 0
        figure.add_bar(
            x=[ms],
            y=["window"],
            orientation="h",
            name=LABELS[stage],
            marker={"color": COLOURS[stage]},
            meta={"column": "window_ns", "stage": stage},
            text=[f"{LABELS[stage]}<br>{ms:,.1f} ms" if share > 0.09 else ""],
            textposition="inside",
            insidetextanchor="middle",
            textfont={"color": "#111111" if stage not in _DARK else "#ffffff"},
            hovertemplate=f"{LABELS[stage]}: %{{x:,.3f}} ms, {share:.1%}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.1, meta={"keys": "below"})
    styled(figure, height=140)
    figure.update_xaxes(
        range=[0, max(float(total), 1.0) / NS_PER_MS], ticksuffix=" ms", title={"text": ""}
    )
    figure.update_layout(margin={"l": 4, "r": 24, "b": 24})
    return figure.update_yaxes(visible=False)


_DARK: tuple[Stage, ...] = ("vision_encoder", "vision", "text_encoder")


def sample_stages(stages: pd.DataFrame, samples: pd.DataFrame) -> Figure:
    """Every run's stages stacked, runs ordered by their total."""
    order = samples.dropna(subset=["T_total_ms"]).sort_values("T_total_ms", kind="stable")
    keys = list(order[RUN].fillna(0).itertuples(index=False, name=None))
    wide = stages.assign(repeat=stages["repeat"].fillna(0)).pivot_table(
        index=RUN, columns="stage", values="window_ns", aggfunc="sum", observed=True
    )
    wide = wide.reindex(keys)
    labels = [_run_label(*key) for key in keys]
    figure = Figure()
    for stage in in_order(set(wide.columns)):
        y = wide[stage].fillna(0).to_numpy(float) / NS_PER_MS
        _stack(figure, stage, labels, y, as_bars=len(keys) <= BARS_AT_MOST)
    figure.update_layout(
        barmode="stack", hovermode="x unified", bargap=0.15, meta={"runs": len(keys)}
    )
    styled(figure, x="runs, shortest to longest", y="window, ms", height=400)
    return figure.update_xaxes(showticklabels=len(keys) <= 24)


def _run_label(sample_id: str, repeat: float, rank: int) -> str:
    more = (f" · repeat {int(repeat)}" if repeat else "") + (f" · rank {rank}" if rank else "")
    return f"{sample_id}{more}"


def _stack(figure: Figure, stage: Stage, labels: Sequence[str], y: Any, *, as_bars: bool) -> None:
    common: dict[str, Any] = {
        "name": LABELS[stage],
        "y": y,
        "customdata": list(labels),
        "meta": {"column": "window_ns", "stage": stage},
        "hovertemplate": f"{LABELS[stage]} %{{y:,.2f}} ms<extra></extra>",
    }
    if as_bars:
        figure.add_bar(x=list(labels), marker={"color": COLOURS[stage]}, **common)
        return
    figure.add_scatter(
        x=np.arange(len(y)),
        mode="lines",
        stackgroup="stages",
        line={"width": 0, "shape": "hv"},
        fillcolor=COLOURS[stage],
        **common,
    )


def distribution(stages: pd.DataFrame) -> Figure:
    """How each stage's window spreads over the runs: quartiles, and the 5th to 95th percentile."""
    figure = Figure()
    for stage in in_order(set(stages.dropna(subset=["window_ns"])["stage"])):
        ms = stages.loc[stages["stage"] == stage, "window_ns"].dropna().to_numpy(float) / NS_PER_MS
        low, q1, median, q3, high = np.quantile(ms, [0.05, 0.25, 0.5, 0.75, 0.95])
        figure.add_box(
            name=LABELS[stage],
            y=[LABELS[stage]],
            orientation="h",
            lowerfence=[low],
            q1=[q1],
            median=[median],
            q3=[q3],
            upperfence=[high],
            marker={"color": COLOURS[stage]},
            meta={"column": "window_ns", "stage": stage},
            showlegend=False,
        )
    styled(figure, x="window, ms (box: quartiles, whiskers: 5th to 95th percentile)", height=320)
    return figure.update_yaxes(autorange="reversed")


def with_unknown(stages: pd.DataFrame) -> pd.DataFrame:
    """With `unknown_ns`: the windows of which not all was recorded."""
    unknown = stages["window_ns"].where(stages["busy_ns"].isna())
    return stages.assign(unknown_ns=unknown)


def run_stages(stages: pd.DataFrame) -> Figure:
    """One run's stages: busy and idle parts of each window, or that these are not known of all.

    Args:
        stages: rows of a run.
    """
    by_stage = with_unknown(stages).set_index("stage").reindex(list(STAGES))
    figure = Figure()
    for column, name, pattern in (
        ("busy_ns", "GPU busy", ""),
        ("idle_ns", "GPU idle", "/"),
        ("unknown_ns", "not known", "."),
    ):
        figure.add_bar(
            x=[LABELS[stage] for stage in STAGES],
            y=by_stage[column].astype(float).to_numpy() / NS_PER_MS,
            name=name,
            marker={
                "color": [COLOURS[stage] for stage in STAGES],
                "pattern": {"shape": pattern, "fillmode": "replace", "size": 6},
            },
            hovertemplate=f"%{{x}}, {name}: %{{y:,.3f}} ms<extra></extra>",
            meta={"column": column},
        )
    figure.update_layout(barmode="stack")
    return styled(figure, y="ms", height=320)
