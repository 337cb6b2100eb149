"""The same story for the terminal, in some thirty lines."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trace_timing.report.model import ReportData
from trace_timing.report.palette import LABELS, RICH
from trace_timing.report.rows import StageRow, stage_rows
from trace_timing.report.sentences import findings, ms, percent
from trace_timing.report.trust import doubt_groups, law_line

#: Columns below which the table keeps stage, window and busy alone.
NARROW = 70
#: Doubts shown; the rest is counted, and stands in summary.json and the page.
MOST_DOUBTS = 4


def render(data: ReportData, *, width: int | None = None) -> RenderableType:
    """A stage table with its sentences and doubts, to be printed with a rich Console.

    Args:
        width: columns of the terminal; below 70 the table leaves its lesser columns out.
    """
    rows = stage_rows(data)
    narrow = width is not None and width < NARROW
    parts: list[RenderableType] = [_heading(data), _table(rows, narrow=narrow)]
    parts += [Text(sentence) for sentence in findings(data)]
    parts += _verdict(data)
    return Group(*parts)


def _heading(data: ReportData) -> Text:
    runs, inputs = len(data.samples), data.samples["sample_id"].nunique()
    clocks = ", ".join(sorted(set(data.samples["clock"])))
    words = f"{inputs} sample{'' if inputs == 1 else 's'}, {runs} run{'' if runs == 1 else 's'}"
    return Text(f"{words}, clock = {clocks}; medians over runs", style="bold")


def _table(rows: list[StageRow], *, narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("stage", no_wrap=True)
    wide: list[str] = [] if narrow else ["share", "idle", "GPU ops"]
    corrected = any(r.corrected_ms is not None for r in rows) and not narrow
    control = any(r.control_ms is not None for r in rows) and not narrow
    optional = [name for name, on in (("corrected", corrected), ("control", control)) if on]
    for name in ("window", "busy", *wide, *optional, "a token"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells = [ms(row.window_ms), ms(row.busy_ms)]
        if not narrow:
            cells += [percent(row.share_frac), percent(row.idle_frac), f"{row.gpu_ops:,.0f}"]
        if corrected:
            cells.append(ms(row.corrected_ms))
        if control:
            cells.append(ms(row.control_ms))
        cells.append(ms(row.per_token_ms) if row.per_token_ms is not None else "")
        table.add_row(Text.assemble(("■ ", RICH[row.stage]), LABELS[row.stage]), *cells)
    return table


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
