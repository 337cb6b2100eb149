"""An analysis for the terminal: the stage table, and what is needed to read it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trace_timing.report.findings import about, findings, heading, ms, percent, plus_minus, sentence
from trace_timing.report.latency_rows import (
    LatencyRow,
    all_recorded,
    latency_rows,
    source_sentence,
)
from trace_timing.report.main_finding import main_finding
from trace_timing.report.model import ReportData
from trace_timing.report.palette import RICH
from trace_timing.report.trust import WarningGroup, check_line, warning_groups, worst_first

#: Widths of the terminal from which the table has more columns.
TINY, NARROW, WIDE = 50, 70, 100
#: Most lines under the table, without --verbose.
MOST_LINES = 12
#: Of these, the lines that the command adds itself: where the files are.
LINES_OF_FILES = 2
#: Warnings whose evidence is shown too: it lists the names that the ranges have.
NAMES_SEEN = ("no_stage_ranges", "pattern_fits_nothing", "pattern_fits_other_stage")


@dataclass(frozen=True, kw_only=True)
class Story:
    """What the terminal shows of an analysis."""

    data: ReportData
    #: Lines on a server's steps, its main result: shown directly under the table.
    steps: Sequence[str] = ()
    #: Sentences on noise, growth and outliers: for --verbose.
    statistics: Sequence[str] = ()


@dataclass(frozen=True)
class _Line:
    """A line under the table.

    Where room is short, the line of the highest `expendable` goes first; one of 0 always stays.
    """

    text: Text
    expendable: int = 0


def render(story: Story, *, width: int = WIDE, verbose: bool = False) -> RenderableType:
    """A stage table with the few lines that it needs, to be printed with a rich Console.

    Args:
        width: columns of the terminal; a narrow one gets fewer columns, never cut ones.
        verbose: every finding, statistic and warning in place of the most important.
    """
    data = story.data
    rows = latency_rows(data)
    table = _table(rows, width, recorded=all_recorded(data), verbose=verbose)
    if verbose:
        under = list(_everything(story, width))
    else:
        under = _fitting(list(_brief(story, rows, width)), width)
    return Group(*_heading(data, width), table, *map(Text, story.steps), *under)


def _heading(data: ReportData, width: int) -> Iterator[Text]:
    """Model, device and what was measured: in one line if it fits, else in two."""
    ran = ran_on(data.summary)
    measured = heading(data)
    together = f"{ran}: {measured}" if ran else measured
    if len(together) <= width:
        yield Text(together, style="bold")
        return
    yield Text(ran, style="bold")
    yield Text(measured, style="bold")


def ran_on(summary: Mapping[str, Any]) -> str:
    """`MODEL on DEVICE`, as far as the traces say; the number of devices where there are more."""
    model = (summary.get("settings") or {}).get("model") or ""
    devices = (summary.get("environment") or {}).get("devices") or []
    names = [d.get("name") if isinstance(d, dict) else str(d) for d in devices]
    known = list(dict.fromkeys(name for name in names if name))
    on = ", ".join(known) + (f" × {len(names)}" if len(names) > 1 == len(known) else "")
    return " on ".join(part for part in (str(model), on) if part)


def _table(rows: list[LatencyRow], width: int, *, recorded: bool, verbose: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("stage", no_wrap=True)
    columns = _columns(rows, width, "recorded" if recorded else "latency")
    if verbose and width >= NARROW:
        columns["share"] = lambda row: percent(row.share_frac)
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
    """Heading → text of a row's cell; a narrow terminal gets the important ones only."""
    columns: dict[str, Callable[[LatencyRow], str]] = {time: lambda row: ms(row.ms)}
    if width >= TINY and any(row.half_frac is not None for row in rows):
        columns["±"] = lambda row: plus_minus(row.half_frac)
    if any(row.busy_ms is not None for row in rows):
        columns["GPU busy"] = lambda row: about(row.busy_ms, estimated=row.busy_is_estimate)
        if width >= NARROW:
            columns["idle"] = lambda row: percent(row.idle_frac)
    if width >= TINY:
        columns["a token"] = lambda row: "" if row.per_token_ms is None else ms(row.per_token_ms)
    return columns


def _brief(story: Story, rows: list[LatencyRow], width: int) -> Iterator[_Line]:
    """The most important lines, in reading order."""
    check = check_line(story.data)
    if check.broken:
        yield _Line(Text(check.sentence, style="bold red"))
    yield _Line(Text(" ".join(_source(story.data, rows))), expendable=1)
    finding = main_finding(story.data)
    yield _Line(Text.assemble((f"{finding.headline}. ", "bold"), finding.evidence))
    yield _Line(_remedy(finding.next_step, width), expendable=2)
    groups = worst_first(warning_groups(story.data.warnings), story.data)
    if groups:
        worst = groups[0]
        yield _Line(_counted(groups))
        if worst.code in NAMES_SEEN:
            yield _Line(Text(_indented(worst.evidence, width, "  ")))
        if worst.remedy:
            yield _Line(
                _remedy(worst.remedy, width), expendable=0 if worst.code in NAMES_SEEN else 3
            )


def _source(data: ReportData, rows: Sequence[LatencyRow]) -> Iterator[str]:
    """Where the figures come from, and what the signs in the table mean."""
    yield source_sentence(data)
    if data.host_clock:
        yield "clock = host: no GPU timeline, so nothing here is about a device."
        return
    if all_recorded(data):
        yield "Unprofiled they lie between GPU busy and these."
    if any(row.half_frac is not None for row in rows):
        yield "± is half of the 95 % interval."
    if any(row.busy_is_estimate for row in rows):
        yield "≈ is estimated from the steps that were recorded."
    if not len(data.recorded):
        yield "No run was recorded."


def _counted(groups: Sequence[WarningGroup]) -> Text:
    """The number of warnings, and the worst of them."""
    first = groups[0]
    times = f" ({first.times} times)" if first.times > 1 else ""
    count = "1 warning" if len(groups) == 1 else f"{len(groups)} warnings, the worst"
    return Text(f"{count}: {first.message}{times}", style="yellow")


def _remedy(remedy: str, width: int) -> Text:
    return Text(_indented(remedy, width, "  do: "))


def _indented(text: str, width: int, first: str) -> str:
    """Wrap a text; further lines are indented as far as the text after `first`."""
    lines = textwrap.wrap(
        text,
        max(width, TINY),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def _fitting(lines: list[_Line], width: int) -> list[Text]:
    """The texts of the lines, without the most expendable ones where there are too many."""
    kept = list(lines)
    while sum(_height(line.text, width) for line in kept) > MOST_LINES - LINES_OF_FILES:
        most = max(kept, key=lambda line: line.expendable)
        if not most.expendable:
            break
        kept.remove(most)
    return [line.text for line in kept]


def _height(text: Text, width: int) -> int:
    """Lines that a text takes in the terminal."""
    return sum(len(textwrap.wrap(line, width)) for line in text.plain.splitlines())


def _everything(story: Story, width: int) -> Iterator[Text]:
    """All findings, statistics, checks, verdicts and warnings."""
    data, check = story.data, check_line(story.data)
    yield from map(Text, (*findings(data), *story.statistics))
    yield Text(check.sentence, style="bold red" if check.broken else "")
    if data.verdicts is not None:
        for row in data.verdicts.drop_duplicates(["stage", "code"]).to_dict("records"):
            yield Text(f"{row['sample_id']}: {row['sentence']}", style="bold")
            yield Text(_indented(sentence(row["evidence"]), width, "  "))
            yield _remedy(row["remedy"], width)
    for group in worst_first(warning_groups(data.warnings), data):
        times = f" ({group.times} times)" if group.times > 1 else ""
        yield Text(f"warning: {group.message}{times}", style="yellow")
        where = f" at {group.where}" if group.where else ""
        yield Text(_indented(f"{group.code}{where}: {group.evidence}", width, "  "))
        if group.remedy:
            yield _remedy(group.remedy, width)
