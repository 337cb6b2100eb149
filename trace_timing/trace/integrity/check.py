"""A check of a trace's integrity, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from trace_timing.records.findings import IntegrityResult
from trace_timing.stages import Stage
from trace_timing.trace.events import Kind, Trace

Subject = TypeVar("Subject")
#: Letters of an event's name in a line of evidence: a name may be 100 kB long.
_NAME_LETTERS = 60


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a check saw: how many faults, and in one line which; or, without any, what it saw."""

    count: int
    evidence: str
    #: The stage that the fault is in, where it is in one.
    stage: Stage | None = None


def passed(evidence: str) -> Found:
    """Nothing wrong."""
    return Found(count=0, evidence=evidence)


@dataclass(frozen=True, kw_only=True)
class Check(Generic[Subject]):
    """One row of a table of checks.

    A fault is a WARN where the figures can be given with it named, a FAIL where one of them is
    wrong by an amount that nobody knows.
    """

    code: str
    level: Literal["WARN", "FAIL"]
    #: What a fault means, in a sentence.
    message: str
    #: From where on something counts as a fault, and why from there.
    bound: str
    remedy: str
    find: Callable[[Subject], Found]


def run_checks(checks: Iterable[Check[Subject]], subject: Subject) -> tuple[IntegrityResult, ...]:
    """The result of each check, in the table's order."""
    return tuple(_result(check, check.find(subject)) for check in checks)


def _result(check: Check[Subject], found: Found) -> IntegrityResult:
    return IntegrityResult(
        code=check.code,
        level=check.level if found.count else "PASS",
        message=check.message,
        evidence=found.evidence,
        remedy=check.remedy,
        stage=found.stage,
    )


def told(trace: Trace, row: int) -> str:
    """An event for a line of evidence: its kind, name and begin."""
    events = trace.events
    kind = Kind(events.kind[row]).name.lower()
    name = trace.names[events.name[row]]
    short = name if len(name) <= _NAME_LETTERS else name[:_NAME_LETTERS] + "…"
    return f"{kind} {short!r} at {int(events.start_ns[row])} ns"
