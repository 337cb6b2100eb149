"""Figures that compare runs and stages.

Each takes tables of trace_timing.schema and returns a plain.Figure; times are milliseconds, one
colour a stage (palette.COLOURS). `meta` of a trace names the column it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from trace_timing.report.figures.plain import Figure
from trace_timing.report.palette import COLOURS, LABELS, in_order
from trace_timing.report.rows import RUN
from trace_timing.stages import STAGES, Stage
from trace_timing.units import NS_PER_MS

if TYPE_CHECKING:
    import pandas as pd

#: More runs than this are drawn as one stepped area a stage: a bar each costs the browser seconds.
BARS_AT_MOST = 150

#: plain.Figure, or plotly's own Figure.
AnyFigure = TypeVar("AnyFigure", bound=Any)


def styled(figure: AnyFigure, *, x: str = "", y: str = "", height: int = 360) -> AnyFigure:
    """Apply the look that all figures share: no background of their own, room for the labels."""
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#6b7280"},
        margin={"l": 56, "r": 16, "t": 12, "b": 56},
        height=height,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        hoverlabel={"font": {"size": 13}},
    )
    axis = {
        "gridcolor": "rgba(128,128,128,0.22)",
        "zerolinecolor": "rgba(128,128,128,0.4)",
        "automargin": True,
        # By default plotly measures every label to hide those that overflow: half of the time
        # that drawing takes.
        "ticklabeloverflow": "allow",
    }
    figure.update_xaxes(title={"text": x, "standoff": 8}, **axis)
    figure.update_yaxes(title={"text": y, "standoff": 8}, **axis)
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
            textfont={"color": ink_on(COLOURS[stage])},
            hovertemplate=f"{LABELS[stage]}: %{{x:,.3f}} ms, {share:.1%}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.1, meta={"keys": "below"})
    styled(figure, height=140)
    figure.update_xaxes(
        range=[0, max(float(total), 1.0) / NS_PER_MS], ticksuffix=" ms", title={"text": ""}
    )
    figure.update_layout(margin={"l": 4, "r": 24, "b": 24})
    return figure.update_yaxes(visible=False)


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
    suffix = (f" · repeat {int(repeat)}" if repeat else "") + (f" · rank {rank}" if rank else "")
    return f"{sample_id}{suffix}"


def _stack(figure: Figure, stage: Stage, labels: Sequence[str], y: Any, *, as_bars: bool) -> None:
    """Add one stage to the stack, as bars or as a stepped area."""
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
    """How much each stage's window differs between runs: each ÷ the stage's median.

    In ms the short stages would be hairlines beside decode. Up to POINTS_AT_MOST runs are drawn as
    points, since so few have no quartiles to speak of; more as a box from quartile to quartile with
    whiskers at the 5th and the 95th percentile.
    """
    figure, labels = Figure(), list[str]()
    for stage in in_order(set(stages.dropna(subset=["window_ns"])["stage"])):
        mine = stages[(stages["stage"] == stage) & (stages["window_ns"] > 0)]
        ms = mine["window_ns"].to_numpy(float) / NS_PER_MS
        if not len(ms):
            continue
        labels.append(f"{LABELS[stage]}, {np.median(ms):,.3g} ms")
        _spread(figure, stage, labels[-1], ms, mine["sample_id"].tolist())
    styled(figure, x="÷ median of the stage", height=100 + 36 * len(labels))
    if _is_wide(figure):
        figure.update_xaxes(type="log", dtick="D2")
    return figure.update_yaxes(autorange="reversed", categoryarray=labels, showgrid=False)


#: Most runs that are drawn one by one.
POINTS_AT_MOST = 12
#: Largest ÷ smallest value above which the axis is logarithmic: a linear one hides the small.
_LINEAR_UP_TO = 8.0


def _spread(
    figure: Figure, stage: Stage, label: str, ms: npt.NDArray[np.float64], ids: list[str]
) -> None:
    """Draw one stage's windows ÷ their median, as points or as a box."""
    common: dict[str, Any] = {
        "name": LABELS[stage],
        "meta": {"column": "window_ns", "stage": stage},
        "showlegend": False,
    }
    middle = float(np.median(ms))
    if len(ms) <= POINTS_AT_MOST:
        figure.add_scatter(
            x=ms / middle,
            y=[label] * len(ms),
            mode="markers",
            marker={"size": 11, "opacity": 0.75, "color": COLOURS[stage]},
            customdata=ms,
            text=ids,
            hovertemplate="%{text}: %{customdata:,.3f} ms, ×%{x:.2f}<extra></extra>",
            **common,
        )
        return
    low, q1, median, q3, high = np.quantile(ms, [0.05, 0.25, 0.5, 0.75, 0.95]) / middle
    ends = {"lowerfence": [low], "q1": [q1], "median": [median], "q3": [q3], "upperfence": [high]}
    marker = {"color": COLOURS[stage]}
    figure.add_box(y=[label], orientation="h", marker=marker, **ends, **common)


def _is_wide(figure: Figure) -> bool:
    """Whether the values shown need a logarithmic axis."""
    values = np.concatenate([np.zeros(0), *map(_shown_values, figure.data)])
    return len(values) > 0 and float(values.max()) > _LINEAR_UP_TO * float(values.min())


def _shown_values(trace: Any) -> npt.NDArray[np.float64]:
    """x of the points, or of the ends of the whiskers."""
    box = trace["type"] == "box"
    shown = (*trace["lowerfence"], *trace["upperfence"]) if box else trace["x"]
    return np.asarray(shown, float)


def with_unknown(stages: pd.DataFrame) -> pd.DataFrame:
    """Add `unknown_ns`: the windows of the stages whose busy time is not known."""
    unknown = stages["window_ns"].where(stages["busy_ns"].isna())
    return stages.assign(unknown_ns=unknown)


def run_stages(stages: pd.DataFrame) -> Figure:
    """One run's stages: busy and idle time of each; the window where these are not known.

    Args:
        stages: rows of a run.
    """
    by_stage = with_unknown(stages).set_index("stage").reindex(list(STAGES))
    figure = Figure()
    for column, name, pattern in (
        ("busy_ns", "GPU busy", ""),
        ("idle_ns", "GPU idle", "/"),
        ("unknown_ns", "window, GPU not known", "."),
    ):
        figure.add_bar(
            y=[LABELS[stage] for stage in STAGES],
            x=by_stage[column].astype(float).to_numpy() / NS_PER_MS,
            orientation="h",
            name=name,
            marker={
                "color": [COLOURS[stage] for stage in STAGES],
                "pattern": {"shape": pattern, "fillmode": "replace", "size": 6},
            },
            hovertemplate=f"%{{y}}, {name}: %{{x:,.3f}} ms<extra></extra>",
            meta={"column": column},
        )
    figure.update_layout(barmode="stack")
    styled(figure, x="ms", height=320)
    return figure.update_yaxes(autorange="reversed", showgrid=False)


def ink_on(colour: str) -> str:
    """Black or white, whichever has the higher contrast ratio on a colour (WCAG 2.2)."""
    return "#ffffff" if _luminance(colour) < _EVEN_LUMINANCE else "#000000"


#: Luminance L on which black and white have the same contrast: (L + 0.05)² = 0.05 × 1.05.
_EVEN_LUMINANCE = (0.05 * 1.05) ** 0.5 - 0.05


def _luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
