"""Values of the first screen's template: tiles, bars in per cent of one axis, texts to copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trace_timing.report.html.copy_text import CopyText, copy_texts
from trace_timing.report.html.tiles import Axis, Bar, Tile, axis_of, bars, measured, tiles, title
from trace_timing.report.main_finding import LIMITS, MainFinding, main_finding
from trace_timing.report.model import ReportData
from trace_timing.report.palette import COLOURS
from trace_timing.report.trust import (
    TrustLine,
    WarningGroup,
    trust_sentence,
    warning_groups,
    worst_first,
)

#: Longest axis ÷ longest bar. A whisker that reaches further is cut off and marked, since an axis
#: of its length would leave hairlines of the bars.
_WHISKER_ROOM = 1.25


@dataclass(frozen=True, kw_only=True)
class DrawnBar:
    """A bar with its lengths in per cent of the axis."""

    bar: Bar
    colour: str
    width: float
    busy: float | None
    low: float | None
    high: float | None
    #: Whether the interval goes on beyond the axis.
    is_cut: bool
    older: float | None
    limit: str


@dataclass(frozen=True, kw_only=True)
class FirstScreen:
    """Everything the first screen shows."""

    title: str
    measured: Sequence[tuple[str, str]]
    tiles: Sequence[Tile]
    trust: TrustLine
    warnings: Sequence[WarningGroup]
    warning_count: int
    finding: MainFinding | None
    bars: Sequence[DrawnBar]
    #: Place of each tick in per cent of the axis, and its label.
    ticks: Sequence[tuple[float, str]]
    copies: Sequence[CopyText]
    #: Caption of the bars where there are several samples or older results, else empty.
    caption: str
    is_recorded: bool = False

    @property
    def has_busy(self) -> bool:
        """Whether any stage's GPU busy time is known; without, its columns are left out."""
        return any(drawn.busy is not None for drawn in self.bars)

    @property
    def has_interval(self) -> bool:
        """Whether any stage has an interval."""
        return any(drawn.low is not None for drawn in self.bars)

    @property
    def has_older(self) -> bool:
        """Whether any bar has a figure of older results."""
        return any(drawn.bar.older for drawn in self.bars)


def first_screen(data: ReportData) -> FirstScreen:
    """The first screen of a report."""
    shown_tiles, shown_bars = tiles(data), bars(data)
    drawn, ticks = draw_bars(shown_bars)
    return FirstScreen(
        title=title(data),
        measured=measured(data),
        tiles=shown_tiles,
        trust=trust_sentence(data),
        warnings=worst_first(warning_groups(data.warnings), data),
        warning_count=len(data.warnings),
        finding=main_finding(data),
        bars=drawn,
        ticks=ticks,
        copies=copy_texts(shown_bars, shown_tiles),
        caption=_caption(data),
        is_recorded=bool((data.samples["latency_source"] == "recorded").all()),
    )


def draw_bars(shown: Sequence[Bar]) -> tuple[list[DrawnBar], list[tuple[float, str]]]:
    """Place bars on one axis from 0, and its ticks."""
    lengths = [b.row.ms for b in shown] + [b.row.busy_ms or 0.0 for b in shown]
    lengths += [b.older.ms for b in shown if b.older]
    room = _WHISKER_ROOM * max(lengths, default=0.0)
    ends = [b.row.high_ms for b in shown if b.row.high_ms is not None and b.row.high_ms <= room]
    axis = axis_of([*lengths, *ends])
    drawn = [_drawn(bar, axis) for bar in shown]
    return drawn, [(axis.percent(tick), f"{tick:,g}") for tick in axis.ticks_ms]


def _drawn(bar: Bar, axis: Axis) -> DrawnBar:
    row = bar.row
    is_cut = row.high_ms is not None and row.high_ms > axis.end_ms
    return DrawnBar(
        bar=bar,
        colour=COLOURS[row.stage] if row.stage else "var(--muted)",
        width=axis.percent(row.ms),
        busy=None if row.busy_ms is None else axis.percent(row.busy_ms),
        low=None if row.low_ms is None else axis.percent(row.low_ms),
        high=None if row.high_ms is None else min(axis.percent(row.high_ms), 100.0),
        is_cut=is_cut,
        older=None if bar.older is None else axis.percent(bar.older.ms),
        limit=LIMITS[bar.limit],
    )


def _caption(data: ReportData) -> str:
    """What the medians are of; of one sample nothing needs to be said."""
    number, sentences = data.samples["sample_id"].nunique(), []
    if number > 1:
        sentences.append(
            f"Medians over {number:,} samples, each stage's own: they need not add up to the "
            "median total. Within a sample they do."
        )
    if data.older:
        both = max(figure.samples for figure in data.older.values())
        sentences.append(
            f"Older: medians over the {both:,} samples that both have; its decode is what is left "
            "of the total, sampling and rest in it."
        )
    return " ".join(sentences)
