"""The same story for the terminal, in some thirty lines."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trace_timing.report.model import ReportData
from trace_timing.report.palette import LABELS, RICH
from trace_timing.report.rows import StageRow, stage_rows
from trace_timing.report.sentences import findings, ms, percent
from trace_timing.report.trust import DoubtGroup, doubt_groups, law_line

#: Columns of the terminal from which the table shows more.
TINY, NARROW, WIDE = 50, 70, 100
#: Lines in all. Doubts that do not fit are counted; they stand in summary.json and the page.
MOST_LINES = 30
#: Doubts whose evidence is the answer: the names that the ranges have. They stand first.
NAMES_SEEN = ("no_stage_ranges", "pattern_fits_nothing")
#: Doubts shown however narrow the terminal.
LEAST_DOUBTS = 2


def render(
    data: ReportData, more: Sequence[str] = (), *, width: int | None = None
) -> RenderableType:
    """A stage table with its sentences and doubts, to be printed with a rich Console.

    Args:
        more: sentences to add to those about the stages.
        width: columns of the terminal; a narrow one gets fewer columns, never cut ones.
    """
    rows, width = stage_rows(data), WIDE if width is None else width
    law = law_line(data)
    said = [_heading(data), *(Text(sentence) for sentence in (*findings(data), *more))]
    said.append(Text(law.sentence, style="bold red" if law.broken else ""))
    room = MOST_LINES - len(rows) - 1 - sum(_lines(text, width) for text in said)
    return Group(said[0], _table(rows, width), *said[1:], *_doubts(data, room, width))


def _lines(text: Text, width: int) -> int:
    return len(textwrap.wrap(text.plain, width))


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
    if width >= WIDE:
        if any(row.control_ms is not None for row in rows):
            columns["control"] = lambda row: ms(row.control_ms)
        columns["GPU ops"] = lambda row: f"{row.gpu_ops:,.0f}"
    if width >= TINY:
        columns["a token"] = lambda row: "" if row.per_token_ms is None else ms(row.per_token_ms)
    return columns


def _doubts(data: ReportData, room: int, width: int) -> list[Text]:
    """As many doubts as `room` lines take, each with what to do; then how many more there are."""
    groups = sorted(doubt_groups(data.doubts), key=lambda group: group.code not in NAMES_SEEN)
    shown: list[Text] = []
    for group in groups:
        text = _doubt(group)
        room -= _lines(text, width)
        if len(shown) >= LEAST_DOUBTS and room < (len(shown) + 1 < len(groups)):
            break
        shown.append(text)
    left = len(groups) - len(shown)
    if left:
        shown.append(Text(f"and {left} more doubt{'' if left == 1 else 's'}: see the report"))
    return shown


def _doubt(group: DoubtGroup) -> Text:
    times = f" ({group.times} times)" if group.times > 1 else ""
    text = Text(f"doubt: {group.message}{times}", style="yellow")
    if group.code in NAMES_SEEN:
        text.append(f" ({group.evidence})", style="default")
    return text.append(f" → {group.remedy}" if group.remedy else "", style="default")
