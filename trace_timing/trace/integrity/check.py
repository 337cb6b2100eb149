"""Types of integrity checks and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from trace_timing.records.findings import IntegrityResult
from trace_timing.stages import Stage
from trace_timing.trace.events import Kind, Trace

Subject = TypeVar("Subject")
#: Most characters of an event's name in evidence: a name may be 100 kB long.
_NAME_LETTERS = 60


@dataclass(frozen=True, kw_only=True)
class Found:
    """Result of a check: the number of faults, and in one line which, or what was checked."""

    count: int
    evidence: str
    #: The stage of the fault, if it is in one.
    stage: Stage | None = None


def passed(evidence: str) -> Found:
    """The result without a fault."""
    return Found(count=0, evidence=evidence)


@dataclass(frozen=True, kw_only=True)
class Check(Generic[Subject]):
    """One row of a table of checks.

    A fault is a WARN if figures can be given with a warning, a FAIL if one of them is wrong by an
    unknown amount.
    """

    code: str
    level: Literal["WARN", "FAIL"]
    #: What a fault means, in a sentence.
    message: str
    #: From which value on something is a fault, and why.
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


def event_text(trace: Trace, row: int) -> str:
    """An event's kind, name and start as text, for evidence."""
    events = trace.events
    kind = Kind(events.kind[row]).name.lower()
    name = trace.names[events.name[row]]
    short = name if len(name) <= _NAME_LETTERS else name[:_NAME_LETTERS] + "…"
    return f"{kind} {short!r} at {int(events.start_ns[row])} ns"
