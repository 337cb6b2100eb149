"""The same story for the terminal, in some thirty lines."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trace_timing.report.model import ReportData
from trace_timing.report.palette import LABELS, RICH
from trace_timing.report.rows import StageRow, stage_rows
from trace_timing.report.sentences import findings, ms, percent
from trace_timing.report.trust import doubt_groups, law_line

#: Columns of the terminal from which the table shows more.
TINY, NARROW, WIDE = 50, 70, 100
#: Doubts shown; the rest is counted, and stands in summary.json and the page.
MOST_DOUBTS = 4


def render(data: ReportData, *, width: int | None = None) -> RenderableType:
    """A stage table with its sentences and doubts, to be printed with a rich Console.

    Args:
        width: columns of the terminal; a narrow one gets fewer columns, never cut ones.
    """
    rows = stage_rows(data)
    parts: list[RenderableType] = [_heading(data), _table(rows, WIDE if width is None else width)]
    parts += [Text(sentence) for sentence in findings(data)]
    parts += _verdict(data)
    return Group(*parts)


def _heading(data: ReportData) -> Text:
    runs, inputs = len(data.samples), data.samples["sample_id"].nunique()
    clocks = ", ".join(sorted(set(data.samples["clock"])))
    words = f"{inputs} sample{'' if inputs == 1 else 's'}, {runs} run{'' if runs == 1 else 's'}"
    return Text(f"{words}, clock = {clocks}; medians over runs", style="bold")


def _table(rows: list[StageRow], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("stage", no_wrap=True)
    columns = _columns(rows, width)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        stage = Text.assemble(("■ ", RICH[row.stage]), LABELS[row.stage])
        table.add_row(stage, *(cell(row) for cell in columns.values()))
    return table


def _columns(rows: list[StageRow], width: int) -> dict[str, Callable[[StageRow], str]]:
    """Heading → cell, as many as the terminal has room for, the important ones first."""
    columns: dict[str, Callable[[StageRow], str]] = {
        "window": lambda row: ms(row.window_ms),
        "busy": lambda row: ms(row.busy_ms),
    }
    if width >= NARROW:
        columns["share"] = lambda row: percent(row.share_frac)
        columns["idle"] = lambda row: percent(row.idle_frac)
        if any(row.corrected_ms is not None for row in rows):
            columns["corrected"] = lambda row: ms(row.corrected_ms)
    if width >= WIDE:
        if any(row.control_ms is not None for row in rows):
            columns["control"] = lambda row: ms(row.control_ms)
        columns["GPU ops"] = lambda row: f"{row.gpu_ops:,.0f}"
    if width >= TINY:
        columns["a token"] = lambda row: "" if row.per_token_ms is None else ms(row.per_token_ms)
    return columns


def _verdict(data: ReportData) -> list[RenderableType]:
    law = law_line(data)
    lines: list[RenderableType] = [Text(law.sentence, style="bold red" if law.broken else "")]
    groups = doubt_groups(data.doubts)
    for group in groups[:MOST_DOUBTS]:
        times = f" ({group.times} times)" if group.times > 1 else ""
        lines.append(Text(f"doubt: {group.message}{times}", style="yellow"))
        lines.append(
            Text(f"  {group.evidence}; {group.remedy}" if group.remedy else f"  {group.evidence}")
        )
    if len(groups) > MOST_DOUBTS:
        lines.append(Text(f"and {len(groups) - MOST_DOUBTS} more doubts: see the report"))
    return lines
