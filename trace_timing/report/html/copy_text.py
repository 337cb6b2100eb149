"""The stage table of the first screen as text to copy: CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trace_timing.report.findings import CANNOT_TELL, about, ms, percent, plus_minus
from trace_timing.report.html.tiles import Bar, Tile

_HEAD = ("stage", "latency", "±", "GPU busy", "idle")
_CSV_HEAD = (
    *("stage", "latency_ms", "lo_ms", "hi_ms", "gpu_busy_ms", "gpu_busy_is_estimate", "idle_frac"),
    "source",
)
#: Character with a meaning in LaTeX, or none in its fonts → the command that prints it.
_LATEX = {
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    ">": "$>$",
}


@dataclass(frozen=True)
class CopyText:
    """The stage table in one format, with the format's name."""

    name: str
    text: str


def copy_texts(bars: Sequence[Bar], tiles: Sequence[Tile]) -> list[CopyText]:
    """The bars' figures in each format; in CSV to the nanosecond."""
    makers: Mapping[str, Callable[[Sequence[Bar], Sequence[Tile]], str]] = {
        "CSV": _csv,
        "Markdown": _markdown,
        "LaTeX": _latex,
    }
    return [CopyText(name, make(bars, tiles)) for name, make in makers.items()]


def _csv(bars: Sequence[Bar], tiles: Sequence[Tile]) -> str:
    source = tiles[-1].source
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_HEAD)
    for bar in bars:
        row = bar.row
        times = (row.ms, row.low_ms, row.high_ms, row.busy_ms)
        idle = "" if row.idle_frac is None else f"{row.idle_frac:.4f}"
        estimate = "yes" if row.busy_is_estimate else "no"
        writer.writerow([row.label, *map(_exact, times), estimate, idle, source])
    return out.getvalue()


def _exact(value: float | None) -> str:
    """ms to the nanosecond; empty for None."""
    return "" if value is None else f"{value:.6f}"


def _cells(bar: Bar) -> tuple[str, ...]:
    """A row of the table, rounded for people."""
    row = bar.row
    busy = CANNOT_TELL
    if row.busy_ms is not None:
        busy = about(row.busy_ms, estimated=row.busy_is_estimate)
    idle = CANNOT_TELL if row.idle_frac is None else percent(row.idle_frac)
    return (row.label, ms(row.ms), plus_minus(row.half_frac), busy, idle)


def _markdown(bars: Sequence[Bar], tiles: Sequence[Tile]) -> str:
    lines = [f"| {' | '.join(_HEAD)} |", "|---|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(_cells(bar))} |" for bar in bars]
    return "\n".join([*lines, "", _source(tiles)]) + "\n"


def _latex(bars: Sequence[Bar], tiles: Sequence[Tile]) -> str:
    def line(cells: Sequence[str]) -> str:
        """A row of a LaTeX table."""
        return " & ".join(map(_escaped, cells)) + r" \\"

    body = [line(_cells(bar)) for bar in bars]
    return "\n".join(
        [
            r"\begin{tabular}{lrrrr}",
            r"\hline",
            line(_HEAD),
            r"\hline",
            *body,
            r"\hline",
            r"\end{tabular}",
            f"% {_source(tiles)}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _source(tiles: Sequence[Tile]) -> str:
    """How the total was measured, and over which samples."""
    total = tiles[-1]
    return f"{total.source}{f'; {total.summary}' if total.summary else ''}"
