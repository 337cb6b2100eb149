"""Bounds that a comparison must keep, for CI: `--fail-on 'decode > 5%'`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trace_timing.errors import (
    EXIT_GOOD,
    EXIT_REJECTED,
    EXIT_WITHHELD,
    UsageError,
    did_you_mean,
)
from trace_timing.stats.comparison.compare import ComparedRow, ComparisonResult

SHOWN_LEVELS = ("total", "stage", "minor stage", "undisturbed step", "per token", "busy")
_FORM = re.compile(r"\s*(?P<name>.+?)\s*>\s*(?P<percent>\d+(?:\.\d+)?)\s*%\s*")


@dataclass(frozen=True)
class Gate:
    """Fails where `name` is shown to be slower, by more than `limit_frac`."""

    name: str
    limit_frac: float


@dataclass(frozen=True)
class GateOutcome:
    """Whether a gate holds, and the row that it was checked on.

    Without a verdict the gate is `unsure`: it fails if the verdict was withheld, or if a change
    beyond the bound may be drift, and passes if the samples were too few to tell.
    """

    gate: Gate
    row: ComparedRow
    fails: bool
    unsure: bool

    @property
    def is_withheld(self) -> bool:
        """Whether it fails although no change beyond the bound was shown."""
        return self.fails and self.unsure


def parse_gate(text: str) -> Gate:
    """A gate from `decode > 5%`.

    Raises:
        UsageError: of another form.
    """
    match = _FORM.fullmatch(text)
    if not match:
        raise UsageError(
            f"--fail-on {text!r} cannot be read", remedy="write --fail-on 'decode > 5%'"
        )
    return Gate(match["name"], float(match["percent"]) / 100)


def check_gate(gate: Gate, result: ComparisonResult) -> GateOutcome:
    """Check a gate against a comparison.

    Raises:
        UsageError: the comparison has no row of that name.
    """
    row = next((row for row in result.rows if row.name == gate.name), None)
    if row is None:
        names = [r.name for r in result.rows if r.level in SHOWN_LEVELS]
        raise UsageError(
            f"no row {gate.name!r} to fail on",
            why=f"the comparison has {', '.join(names)}",
            remedy=did_you_mean(gate.name, names)
            + "name one of these, or a kind or kernel as it prints them",
        )
    beyond = row.ratio - 1 > gate.limit_frac
    slower = row.verdict == "slower" and beyond
    withheld = row.verdict == "withheld" or (row.verdict == "slower, or drift" and beyond)
    return GateOutcome(gate, row, slower or withheld, row.verdict == "cannot tell" or withheld)


def exit_code(outcomes: Sequence[GateOutcome]) -> int:
    """0: every bound holds. 1: one is broken. 4: none is, but a verdict had to be withheld."""
    if any(outcome.fails and not outcome.is_withheld for outcome in outcomes):
        return EXIT_REJECTED
    return EXIT_WITHHELD if any(outcome.is_withheld for outcome in outcomes) else EXIT_GOOD
