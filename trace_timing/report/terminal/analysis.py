"""The same story for the terminal, in some thirty lines."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trace_timing.report.findings import about, findings, heading, ms, percent, plus_minus
from trace_timing.report.latency_rows import LatencyRow, all_recorded, latency_rows
from trace_timing.report.model import ReportData
from trace_timing.report.palette import RICH
from trace_timing.report.trust import WarningGroup, check_line, warning_groups

#: Columns of the terminal from which the table shows more.
TINY, NARROW, WIDE = 50, 70, 100
#: Lines in all. Warnings that do not fit are counted; they stand in summary.json and the page.
MOST_LINES = 30
#: Warnings whose evidence is the answer: the names that the ranges have.
NAMES_SEEN = ("no_stage_ranges", "pattern_fits_nothing")
#: Warnings shown however narrow the terminal.
LEAST_WARNINGS = 2


def render(
    data: ReportData, more: Sequence[str] = (), *, width: int | None = None
) -> RenderableType:
    """A stage table with its sentences and warnings, to be printed with a rich Console.

    Args:
        more: sentences to add to those about the stages.
        width: columns of the terminal; a narrow one gets fewer columns, never cut ones.
    """
    rows, width = latency_rows(data), WIDE if width is None else width
    check = check_line(data)
    said = [Text(heading(data), style="bold")]
    said += [Text(sentence) for sentence in (*findings(data), *more)]
    said.append(Text(check.sentence, style="bold red" if check.broken else ""))
    room = MOST_LINES - len(rows) - 1 - sum(_lines(text, width) for text in said)
    return Group(
        said[0],
        _table(rows, width, recorded=all_recorded(data)),
        *said[1:],
        *_warnings(data, room, width),
    )


def _lines(text: Text, width: int) -> int:
    return len(textwrap.wrap(text.plain, width))


def _table(rows: list[LatencyRow], width: int, *, recorded: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("stage", no_wrap=True)
    columns = _columns(rows, width, "recorded" if recorded else "latency")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        mark = ("■ ", RICH[row.stage]) if row.stage else "  "
        style = "bold" if row.time == "T_total" else ""
        cells = (cell(row) for cell in columns.values())
        table.add_row(Text.assemble(mark, row.label), *cells, style=style)
    return table


def _columns(
    rows: list[LatencyRow], width: int, time: str
) -> dict[str, Callable[[LatencyRow], str]]:
    """Heading → cell, as many as the terminal has room for, the important ones first."""
    columns: dict[str, Callable[[LatencyRow], str]] = {time: lambda row: ms(row.ms)}
    if width >= TINY and any(row.half_frac is not None for row in rows):
        columns["±"] = lambda row: plus_minus(row.half_frac)
    columns["GPU busy"] = lambda row: about(row.busy_ms, estimated=row.busy_is_estimate)
    if width >= NARROW:
        columns["idle"] = lambda row: percent(row.idle_frac)
        columns["share"] = lambda row: percent(row.share_frac)
    if width >= TINY:
        columns["a token"] = lambda row: "" if row.per_token_ms is None else ms(row.per_token_ms)
    return columns


def _warnings(data: ReportData, room: int, width: int) -> list[Text]:
    """As many warnings as `room` lines take, each with what to do; then how many more there are."""
    groups = warning_groups(data.warnings)
    shown: list[Text] = []
    for group in groups:
        text = _warning(group)
        room -= _lines(text, width)
        if len(shown) >= LEAST_WARNINGS and room < (len(shown) + 1 < len(groups)):
            break
        shown.append(text)
    left = len(groups) - len(shown)
    if left:
        shown.append(Text(f"and {left} more warning{'' if left == 1 else 's'}: see the report"))
    return shown


def _warning(group: WarningGroup) -> Text:
    times = f" ({group.times} times)" if group.times > 1 else ""
    text = Text(f"warning: {group.message}{times}", style="yellow")
    if group.code in NAMES_SEEN:
        text.append(f" ({group.evidence})", style="default")
    return text.append(f" → {group.remedy}" if group.remedy else "", style="default")
