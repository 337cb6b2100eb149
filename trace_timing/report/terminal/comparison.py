"""A comparison for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, log1p

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trace_timing.stats.comparison.compare import ComparedRow, ComparisonResult
from trace_timing.stats.comparison.figures import Level
from trace_timing.stats.comparison.gates import GateOutcome
from trace_timing.stats.methods.paired_test import FEWEST

#: Most rows shown of batch sizes, of kinds and of kernels each; --json has all.
SHOWN = 8
#: Most captures a side to advise; where more are needed, a greater change is named.
MOST_CAPTURES = 12
CHANGES = (0.05, 0.1, 0.2, 0.3, 0.5)
MAIN_LEVELS: tuple[Level, ...] = (
    "total",
    "stage",
    "minor stage",
    "undisturbed step",
    "per token",
    "busy",
)
DETAIL_LEVELS: tuple[Level, ...] = ("batch", "kind", "kernel")
_TITLES: dict[Level, str] = {"batch": "batch sizes", "kind": "kinds", "kernel": "kernels"}
_STYLES = {
    "slower": "red",
    "faster": "green",
    "slower, or drift": "yellow",
    "faster, or drift": "yellow",
    "withheld": "yellow",
}


def render(result: ComparisonResult) -> RenderableType:
    """What differs in the conditions, then the verdicts, to be printed with rich."""
    return Group(*_parts(result))


def _parts(result: ComparisonResult) -> Iterator[RenderableType]:
    yield Text(f"B against A ({compared_what(result)})", style="bold")
    yield Text(f"  A: {result.a}\n  B: {result.b}")
    for difference in result.differences:
        bearing = "" if difference.bearing == "listed" else f" — {difference.bearing}"
        yield Text(f"  differs: {difference.name}: {difference.a} | {difference.b}{bearing}")
    for note in result.notes:
        yield Text(f"  note: {note}")
    yield Text("")
    yield _table([row for row in result.rows if row.level in MAIN_LEVELS])
    for sentence in (launch_sentence(result), *needed_sentences(result)):
        if sentence:
            yield Text(sentence)
    for level in DETAIL_LEVELS:
        yield from _changed(result, level)
    for side, names in (("A", result.only_a), ("B", result.only_b)):
        if names:
            yield Text(f"{len(names)} kernels in {side} alone, among them {names[0]}")
    yield Text(f"\n{family_sentence(result)}")


def family_sentence(result: ComparisonResult) -> str:
    """The error rate of all verdicts together, and what the figures are times of."""
    if result.subject == "steps":
        what = (
            "Times are of forwards of the same stage, batch size and context. Undisturbed: the "
            "fifth percentile."
        )
        apart = " beside drift" if min(result.captures) == 1 else ""
    else:
        what, apart = "Decode and sampling are per step.", ""
    return (
        f"Over all {len(result.rows)} verdicts together a false alarm has a chance of at most "
        f"{result.alpha:.0%}{apart}. {what} No difference shown: within ±{result.margin_frac:.0%}."
    )


def compared_what(result: ComparisonResult) -> str:
    """What was compared: `latencies, 24 paired samples, 3 and 3 captures`."""
    a, b = result.captures
    if result.subject == "steps":
        kinds = {"latency": "", "busy": ", busy times", "recorded": ", recorded times"}
        several = "s" if max(a, b) > 1 else ""
        return (
            f"{result.samples:,} forwards a side{kinds[result.basis]}, {a} and {b} "
            f"recording{several}"
        )
    pairing = f"{result.samples} paired samples" if result.paired else "unpaired runs"
    times = {"latency": "latencies", "busy": "busy times", "recorded": "recorded times"}
    captures = "" if a == b == 1 else f", {a} and {b} captures"
    return f"{times[result.basis]}, {pairing}{captures}"


def changed_first(rows: Sequence[ComparedRow]) -> list[ComparedRow]:
    """Rows whose verdict names a change come first; then by the size of the difference."""
    return sorted(rows, key=lambda r: (not is_change(r), -abs(r.difference_ms)))


def is_change(row: ComparedRow) -> bool:
    """Whether its verdict names a change."""
    return row.verdict.startswith(("slower", "faster"))


def _changed(result: ComparisonResult, level: Level) -> Iterator[RenderableType]:
    """The rows of one level, changes first, under a heading that counts them."""
    rows = [row for row in result.rows if row.level == level]
    if not rows:
        return
    changes = sum(map(is_change, rows))
    yield Text(f"\n{_TITLES[level]}: {changes} of {len(rows)} changed", style="bold")
    yield _table(changed_first(rows)[:SHOWN])


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
            Text(verdict_text(row), style=_STYLES.get(row.verdict, "")),
        )
    return table


def gate_line(outcome: GateOutcome) -> str:
    """`FAILS: decode > 5.00% (ratio 1.100)`."""
    gate = outcome.gate
    return (
        f"{gate_word(outcome)}: {gate.name} > {gate.limit_frac:.2%} (ratio {outcome.row.ratio:.3f})"
    )


def gate_word(outcome: GateOutcome) -> str:
    """The outcome of a bound, in a word or two."""
    if outcome.fails:
        return "WITHHELD" if outcome.is_withheld else "FAILS"
    return "cannot tell" if outcome.unsure else "holds"


def needed_sentences(result: ComparisonResult) -> list[str]:
    """What would settle the verdicts `cannot tell` on total, main stages, undisturbed step."""
    main: tuple[Level, ...] = ("total", "stage", "undisturbed step")
    unsure = [r for r in result.rows if r.level in main and r.verdict == "cannot tell"]
    by_captures = [row for row in unsure if row.shown_frac is not None]
    sentences = [_more_captures(by_captures, result)] if by_captures else []
    sentences += [
        _more_pairs(row, result) for row in unsure if row.needed and row not in by_captures
    ]
    unknown = [row.name for row in unsure if row.needed is None]
    if unknown:
        sentences.append(
            f"{', '.join(unknown)}: too few to tell; capture the same {FEWEST} samples or more on "
            "each side."
        )
    return sentences


def _more_captures(rows: Sequence[ComparedRow], result: ComparisonResult) -> str:
    """How many captures a side would show a smaller change: of each row the smallest in reach."""
    in_reach = []
    for row in rows:
        for change in (result.margin_frac, *CHANGES):
            # Captures needed grow with 1 ÷ change²; `needed` is the number for the margin.
            scale = (log1p(result.margin_frac) / log1p(change)) ** 2
            count = max(ceil((row.needed or 0) * scale), row.n + 1)
            if count <= MOST_CAPTURES:
                in_reach.append(f"{row.name} {change:.0%} from {count} on")
                break
    more = f": {', '.join(in_reach)}" if in_reach else ""
    return (
        "Cannot tell: a change of the stated size would have been found four times out of five. "
        f"Further {rows[0].unit} of both sides (--also-a, --also-b) show smaller ones{more}."
    )


def _more_pairs(row: ComparedRow, result: ComparisonResult) -> str:
    """How many pairs or runs would show a change of the margin's size."""
    each = "pairs" if row.unit == "pairs" else "runs a side"
    return (
        f"{row.name}: {row.n} {each} cannot tell; they spread by {row.spread_frac:.1%}, so some "
        f"{row.needed} {each} would show a change of {result.margin_frac:.0%}."
    )


def launch_sentence(result: ComparisonResult) -> str | None:
    """What "at equal launch cost" means in this comparison; None where no ratio is corrected."""
    named = {row.name: row.launch_ratio for row in result.rows if row.launch_ratio is not None}
    if not named:
        return None
    least, most = (f"×{end(named.values()):.3f}" for end in (min, max))
    span = least if least == most else f"{least} to {most}"
    return (
        f"Ratios of {', '.join(named)} are at equal launch cost: an empty launch just before the "
        f"samples' controls cost {span} as much in B as in A, and that is divided out."
    )


def verdict_text(row: ComparedRow) -> str:
    """The verdict, with the change that would have been seen, what would show one, or a reason."""
    if row.shown_frac is not None:
        return f"{row.verdict} below {row.shown_frac:.0%}"
    if row.needed is not None:
        return f"{row.verdict}: {row.needed} {row.unit} would"
    return f"{row.verdict}: {row.reason}" if row.reason else row.verdict
