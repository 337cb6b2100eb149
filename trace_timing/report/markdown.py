"""A comparison as Markdown: a table that goes into a pull request."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from trace_timing.report.terminal.comparison import (
    DETAIL_LEVELS,
    MAIN_LEVELS,
    changed_first,
    compared_what,
    family_sentence,
    gate_word,
    is_change,
    launch_sentence,
    needed_sentences,
    verdict_text,
)
from trace_timing.stats.comparison.compare import ComparedRow, ComparisonResult
from trace_timing.stats.comparison.gates import GateOutcome
from trace_timing.untrusted_text import printable

#: Most rows of changed batch sizes, kinds and kernels, together; --json has all.
MOST_DETAILS = 10
#: Characters that Markdown would take for a table's edge, markup or a mention of someone.
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~@])")


def comparison_markdown(result: ComparisonResult, gates: Sequence[GateOutcome] = ()) -> str:
    """Bounds, the table of stages, what else changed, and the conditions that differ."""
    return "\n".join(_lines(result, gates)) + "\n"


def _lines(result: ComparisonResult, gates: Sequence[GateOutcome]) -> Iterator[str]:
    yield f"### {_text(result.b)} against {_text(result.a)}"
    yield ""
    yield f"{compared_what(result).capitalize()}."
    yield ""
    yield from (_bound(outcome) for outcome in gates)
    if gates:
        yield ""
    yield from _table([row for row in result.rows if row.level in MAIN_LEVELS])
    details = [row for row in result.rows if row.level in DETAIL_LEVELS and is_change(row)]
    if details:
        yield ""
        yield f"<details><summary>{len(details)} changed in detail</summary>"
        yield ""
        yield from _table(changed_first(details)[:MOST_DETAILS])
        yield ""
        yield "</details>"
    yield ""
    for difference in result.differences:
        bearing = "" if difference.bearing == "listed" else f": {difference.bearing}"
        yield (
            f"- differs: {_text(difference.name)}, {_text(difference.a)} → "
            f"{_text(difference.b)}{bearing}"
        )
    launches = launch_sentence(result)
    for note in (*result.notes, *([launches] if launches else ()), *needed_sentences(result)):
        yield f"- {_text(note)}"
    yield f"- {family_sentence(result)}"


def _bound(outcome: GateOutcome) -> str:
    gate = outcome.gate
    return (
        f"- **{gate_word(outcome)}**: {_text(gate.name)} > {gate.limit_frac:.2%} "
        f"(ratio {outcome.row.ratio:.3f})"
    )


def _table(rows: Sequence[ComparedRow]) -> Iterator[str]:
    yield "| | A ms | B ms | ratio | 95 % | verdict |"
    yield "|---|---:|---:|---:|---:|---|"
    for row in rows:
        around = row.ratio_interval
        numbers = (_number(row.a_ms), _number(row.b_ms), _number(row.ratio))
        interval = f"{around.low:.3f} … {around.high:.3f}" if around else ""
        verdict = _text(verdict_text(row))
        shown = f"**{verdict}**" if is_change(row) else verdict
        yield f"| {_text(row.name)} | {' | '.join(numbers)} | {interval} | {shown} |"


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}"


def _text(text: str) -> str:
    """Escape what Markdown or HTML would take for markup."""
    return _MARKUP.sub(r"\\\1", html.escape(printable(text), quote=False))
