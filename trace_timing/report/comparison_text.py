"""A comparison for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trace_timing.stats.compared_figures import Level
from trace_timing.stats.comparison import ComparedRow, ComparisonResult
from trace_timing.stats.gates import GateOutcome
from trace_timing.stats.paired import FEWEST

#: Kinds and kernels that are shown, by what they changed; --json has all.
SHOWN = 8
_STYLES = {"slower": "red", "faster": "green", "withheld": "yellow"}


def render(result: ComparisonResult) -> RenderableType:
    """What differs in the conditions, then the verdicts, to be printed with rich."""
    return Group(*_parts(result))


def _parts(result: ComparisonResult) -> Iterator[RenderableType]:
    pairing = f"{result.samples} paired samples" if result.paired else "unpaired runs"
    yield Text(f"B against A ({result.basis} times, {pairing})", style="bold")
    yield Text(f"  A: {result.a}\n  B: {result.b}")
    for difference in result.differences:
        bearing = "" if difference.bearing == "listed" else f" — {difference.bearing}"
        yield Text(f"  differs: {difference.name}: {difference.a} | {difference.b}{bearing}")
    for note in result.notes:
        yield Text(f"  note: {note}")
    yield Text("")
    main: tuple[Level, ...] = ("total", "stage", "minor stage")
    yield _table([row for row in result.rows if row.level in main])
    for sentence in needed_sentences(result):
        yield Text(sentence)
    rest: tuple[Level, ...] = ("kind", "kernel")
    for level in rest:
        yield from _changed(result, level)
    for side, names in (("A", result.only_a), ("B", result.only_b)):
        if names:
            yield Text(f"{len(names)} kernels in {side} alone, among them {names[0]}")
    yield Text(
        f"\nOver all {len(result.rows)} verdicts together a false alarm has a chance of at most "
        f"{result.alpha:.0%}. Decode and sampling are per step. No difference shown: within "
        f"±{result.margin_frac:.0%}."
    )


def _changed(result: ComparisonResult, level: Level) -> Iterator[RenderableType]:
    rows = [row for row in result.rows if row.level == level]
    if not rows:
        return
    told = sum(row.verdict in ("slower", "faster") for row in rows)
    rows.sort(key=lambda r: (r.verdict not in ("slower", "faster"), -abs(r.difference_ms)))
    yield Text(f"\n{level}s: {told} of {len(rows)} changed", style="bold")
    yield _table(rows[:SHOWN])


def _table(rows: list[ComparedRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="ellipsis", no_wrap=True, max_width=48)
    for name in ("A ms", "B ms", "B − A ms", "ratio", "95 %", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        around = row.ratio_interval
        table.add_row(
            row.name,
            *(
                "" if value != value else f"{value:{form}}"
                for value, form in (
                    (row.a_ms, ".3f"),
                    (row.b_ms, ".3f"),
                    (row.difference_ms, "+.3f"),
                    (row.ratio, ".3f"),
                )
            ),
            f"{around.low:.3f} … {around.high:.3f}" if around else "",
            str(row.n),
            Text(_verdict(row), style=_STYLES.get(row.verdict, "")),
        )
    return table


def gate_line(outcome: GateOutcome) -> str:
    """`FAILS: decode > 5.00% (ratio 1.100)`."""
    said = "FAILS" if outcome.fails else "cannot tell" if outcome.unsure else "holds"
    gate = outcome.gate
    return f"{said}: {gate.name} > {gate.limit_frac:.2%} (ratio {outcome.row.ratio:.3f})"


def needed_sentences(result: ComparisonResult) -> list[str]:
    """For total and main stages that cannot be told: at hand, the spread, and how many would."""
    main: tuple[Level, ...] = ("total", "stage")
    unsure = [r for r in result.rows if r.level in main and r.verdict == "cannot tell"]
    said = [_needed(row, result) for row in unsure if row.needed is not None]
    unknown = [row.name for row in unsure if row.needed is None]
    if unknown:
        said.append(
            f"{', '.join(unknown)}: nothing says how runs of one input differ here; capture "
            f"{FEWEST} samples or more on each side, or one with --control 3."
        )
    return said


def _needed(row: ComparedRow, result: ComparisonResult) -> str:
    pairs = result.paired or row.spread_of != "these"
    each = "pairs" if pairs else "runs a side"
    ours = "they spread by" if row.spread_of == "these" else f"{row.spread_of} put their spread at"
    return (
        f"{row.name}: {row.n} {each} cannot tell; {ours} {row.spread_frac:.1%}, so some "
        f"{row.needed} {each} would show a change of {result.margin_frac:.0%}."
    )


def _verdict(row: ComparedRow) -> str:
    if row.needed is not None:
        return f"{row.verdict}: {row.needed} would"
    return f"{row.verdict}: {row.reason}" if row.reason else row.verdict
