"""`--fail-on 'decode > 5%'`: a bound that a comparison must keep, for CI."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trace_timing.errors import UsageError
from trace_timing.stats.comparison.compare import ComparedRow, ComparisonResult

SHOWN_LEVELS = ("total", "stage", "minor stage", "undisturbed step", "busy")
_FORM = re.compile(r"\s*(?P<name>.+?)\s*>\s*(?P<percent>\d+(?:\.\d+)?)\s*%\s*")


@dataclass(frozen=True)
class Gate:
    """Fails where `name` is shown to be slower, by more than `limit_frac`."""

    name: str
    limit_frac: float


@dataclass(frozen=True)
class GateOutcome:
    """Whether a gate holds, and the row that says so.

    A verdict that is withheld, or that the samples cannot give, lets nothing pass unseen:
    `unsure` says so, and a withheld one fails.
    """

    gate: Gate
    row: ComparedRow
    fails: bool
    unsure: bool


def parse_gate(text: str) -> Gate:
    """A gate from `decode > 5%`.

    Raises:
        UsageError: of another form.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise UsageError(
            f"--fail-on {text!r} cannot be read", remedy="write --fail-on 'decode > 5%'"
        )
    return Gate(found["name"], float(found["percent"]) / 100)


def check_gate(gate: Gate, result: ComparisonResult) -> GateOutcome:
    """Hold a gate against a comparison.

    Raises:
        UsageError: the comparison has no row of that name.
    """
    row = next((row for row in result.rows if row.name == gate.name), None)
    if row is None:
        names = [r.name for r in result.rows if r.level in SHOWN_LEVELS]
        raise UsageError(
            f"no row {gate.name!r} to fail on",
            why=f"the comparison has {', '.join(names)}",
            remedy="name one of these, or a kind or kernel as it prints them",
        )
    slower = row.verdict == "slower" and row.ratio - 1 > gate.limit_frac
    withheld = row.verdict == "withheld"
    return GateOutcome(gate, row, slower or withheld, row.verdict == "cannot tell" or withheld)
