"""An analysis in a notebook: a summary without scripts, and figures that can be restyled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from trace_timing.errors import UsageError
from trace_timing.report.findings import (
    CANNOT_TELL,
    about,
    findings,
    heading,
    ms,
    percent,
    plus_minus,
)
from trace_timing.report.html.tiles import Tile, tiles
from trace_timing.report.latency_rows import LatencyRow, all_recorded, latency_rows
from trace_timing.report.main_finding import main_finding
from trace_timing.report.model import ReportData
from trace_timing.report.palette import COLOURS
from trace_timing.report.rows import median_run, of_run
from trace_timing.report.trust import check_line, trust_sentence, warning_groups, worst_first
from trace_timing.schema import SAMPLE_PARTS
from trace_timing.timeline.rows.tables import RunKey

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Styles that fit any theme of a notebook: lines are grey, text inherits its colour.
_CELL = (
    "padding:2px 12px 2px 0;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"
)
_HEAD = f"{_CELL};border-bottom:1px solid rgba(128,128,128,.45);font-weight:600"
_BAR = "display:flex;height:14px;max-width:640px;margin:6px 0;border-radius:3px;overflow:hidden"
_TEXT = "margin:3px 0;max-width:80ch"
_TILES = "display:flex;flex-wrap:wrap;gap:8px;margin:6px 0"
_TILE = (
    "flex:1 1 150px;max-width:240px;padding:6px 10px;line-height:1.35;"
    "border:1px solid rgba(128,128,128,.45);border-radius:4px"
)
_KEY = "display:inline-block;width:.7em;height:.7em;margin-right:.5em;border-radius:2px"


def summary_html(data: ReportData) -> str:
    """The report's first screen as HTML: tiles, stage table, trust, main finding, warnings.

    It has no script and no style sheet, so it looks the same in every notebook, also a saved one.
    """
    rows, finding = latency_rows(data), main_finding(data)
    parts = [
        f"<p style='margin:4px 0'><b>{escape(_heading(data))}</b></p>",
        _tiles(data),
        _split(rows),
        _table(rows, "while recorded" if all_recorded(data) else "latency"),
        _sentence(trust_sentence(data).text),
        f"<p style='{_TEXT}'><b>{escape(finding.headline)}.</b> {escape(finding.evidence)}"
        f"<br>→ {escape(finding.next_step)}</p>",
        _warnings(data),
        _folded("All findings", [*findings(data), check_line(data).sentence]),
    ]
    return f"<div style='background:transparent;color:inherit'>{''.join(parts)}</div>"


def _sentence(text: str) -> str:
    return f"<p style='{_TEXT}'>{escape(text)}</p>"


def _folded(title: str, sentences: Sequence[str]) -> str:
    """Sentences under a title that opens them."""
    paragraphs = "".join(map(_sentence, sentences))
    return f"<details style='margin:6px 0'><summary>{escape(title)}</summary>{paragraphs}</details>"


def _tiles(data: ReportData) -> str:
    """Tiles of vision, prefill, a decode step and the total: figure, interval, source."""
    return f"<div style='{_TILES}'>{''.join(map(_tile, tiles(data)))}</div>"


def _tile(tile: Tile) -> str:
    small = [*tile.lines[:1], tile.source, tile.summary]
    under = "<br>".join(escape(line) for line in small if line)
    interval = f" <small>{escape(tile.plus_minus)}</small>" if tile.plus_minus else ""
    return (
        f"<div style='{_TILE}'>{escape(tile.label)}<br>"
        f"<b style='font-size:1.5em'>{escape(tile.figure)}</b>{interval}"
        f"<br><small style='opacity:.75'>{under}</small></div>"
    )


def _heading(data: ReportData) -> str:
    return f"trace-timing: {heading(data)}"


def _split(rows: list[LatencyRow]) -> str:
    """A bar of the total, split by stage."""
    pieces = [
        f"<span title='{escape(row.label)}' style='background:{COLOURS[row.stage]};"
        f"width:{100 * row.share_frac:.2f}%'></span>"
        for row in rows
        if row.share_frac and row.stage and row.time in SAMPLE_PARTS
    ]
    return f"<div style='{_BAR}' aria-hidden='true'>{''.join(pieces)}</div>" if pieces else ""


def _table(rows: list[LatencyRow], time: str) -> str:
    names = ("stage", time, "", "share", "GPU busy", "idle")
    head = "".join(_cell(name, _HEAD, "th", left=not i) for i, name in enumerate(names))
    body = "".join(f"<tr style='background:transparent'>{_row(row)}</tr>" for row in rows)
    return (
        "<div style='overflow-x:auto'><table style='border-collapse:collapse;"
        "background:transparent;color:inherit;font:inherit'>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: LatencyRow) -> str:
    colour = COLOURS[row.stage] if row.stage else "transparent"
    key = f"<span style='{_KEY};background:{colour}'></span>"
    name = f"<th style='{_CELL};text-align:left;font-weight:400'>{key}{row.label}</th>"
    busy = CANNOT_TELL
    if row.busy_ms is not None:
        busy = about(row.busy_ms, estimated=row.busy_is_estimate)
    idle = CANNOT_TELL if row.idle_frac is None else percent(row.idle_frac)
    values = (ms(row.ms), plus_minus(row.half_frac), percent(row.share_frac), busy, idle)
    return name + "".join(_cell(value, _CELL, "td") for value in values)


def _cell(text: str, style: str, tag: str, *, left: bool = False) -> str:
    aligned = f"{style};text-align:left" if left else style
    return f"<{tag} style='{aligned}'>{escape(text)}</{tag}>"


def _warnings(data: ReportData) -> str:
    groups = worst_first(warning_groups(data.warnings), data)
    if not groups:
        return ""
    items = "".join(
        f"<li><code>{escape(g.code)}</code> {escape(g.message)} {escape(g.evidence)}"
        f"<br>→ {escape(g.remedy)}</li>"
        for g in groups
    )
    return (
        f"<details style='margin:6px 0'><summary>{len(groups)} warning"
        f"{'' if len(groups) == 1 else 's'}</summary><ul>{items}</ul></details>"
    )


@dataclass(frozen=True)
class Figures:
    """The report's figures as plotly figures; each call returns a new one, free to be restyled."""

    data: ReportData

    def split(self, sample_id: str | None = None, repeat: int = 0) -> go.Figure:
        """One run's window by stage; without a sample, of the run whose total is the median."""
        from trace_timing.report.figures.overview import split

        return split(of_run(self.data.stages, self._run(sample_id, repeat))).plotly()

    def samples(self) -> go.Figure:
        """Every run's stages stacked, shortest to longest."""
        from trace_timing.report.figures.overview import sample_stages

        return sample_stages(self.data.stages, self.data.recorded).plotly()

    def distribution(self) -> go.Figure:
        """How each stage's window differs between the runs."""
        from trace_timing.report.figures.overview import distribution

        return distribution(self.data.stages).plotly()

    def steps(self, sample_id: str | None = None, repeat: int = 0) -> go.Figure:
        """Decode steps by position over all runs; with a sample, the steps of that run."""
        from trace_timing.report.figures.steps import decode_by_position, run_steps

        if sample_id is None:
            growth = self.data.summary.get("scaling") or ()
            return decode_by_position(self.data.steps, growth).plotly()
        return run_steps(of_run(self.data.steps, self._run(sample_id, repeat))).plotly()

    def kernels(self, per_stage: int = 6) -> go.Figure:
        """The kernels of each stage that take the most time."""
        from trace_timing.report.figures.kernels import top_kernels

        return top_kernels(self.data.kernels, per_stage=per_stage).plotly()

    def timeline(self, sample_id: str | None = None, repeat: int = 0) -> go.Figure:
        """One run's timeline: stages, device, streams, host ranges, synchronizing calls.

        Raises:
            UsageError: there is no timeline of that run (an analysis keeps those of a dozen runs).
        """
        from trace_timing.report.figures.timeline import timeline

        key = self._run(sample_id, repeat)
        if key not in self.data.details:
            kept = ", ".join(known.sample_id for known in self.data.details) or "none"
            raise UsageError(
                f"there is no timeline of {key.sample_id}, repeat {key.repeat}",
                why=f"kept: {kept}",
                remedy="analyse its trace alone",
            )
        return timeline(self.data.details[key]).plotly()

    def _run(self, sample_id: str | None, repeat: int) -> RunKey:
        """Key of the run asked for; without a sample, of the run whose total is the median."""
        median = median_run(self.data.recorded)
        if sample_id is None and median:
            return median
        runs = self.data.recorded
        same = runs["sample_id"] == sample_id
        mine = runs[same & (runs["repeat"].fillna(0) == repeat)]
        if mine.empty:
            names = ", ".join(runs["sample_id"].unique()[:8])
            raise UsageError(
                f"there is no run {sample_id}, repeat {repeat}", remedy=f"samples: {names}, …"
            )
        return RunKey(str(sample_id), repeat, int(mine["rank"].iloc[0]))
