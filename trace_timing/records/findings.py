"""Findings about figures: warnings, results of checks, rejected inputs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from sys import intern
from typing import Any, Literal

from trace_timing.stages import Stage

IntegrityLevel = Literal["PASS", "WARN", "FAIL"]


#: Equations that hold exactly on every run or trace (docs/architecture.md, "Checks").
CheckName = Literal[
    "windows_sum", "busy_and_idle", "kernels_sum", "every_op_placed", "nothing_negative"
]


@dataclass(frozen=True, kw_only=True)
class FigureWarning:
    """A stated reason to distrust a figure, with the evidence and the remedy."""

    #: Stable and machine-readable: `check_broken`, `clock_host`, `no_stage_ranges` …
    code: str
    #: What may be wrong, in a sentence.
    message: str
    evidence: str
    remedy: str
    sample_id: str | None = None
    repeat: int | None = None
    rank: int | None = None
    stage: str | None = None


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check on one run (or one trace): both sides of the equation, and whether it holds."""

    check: CheckName
    holds: bool
    #: None where the check is no equation of times.
    left_ns: int | None
    right_ns: int | None
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IntegrityResult:
    """The result of one integrity check of a trace or run (docs/integrity.md).

    Results that come from other processes share their texts: there are dozens of each trace.
    """

    code: str
    #: WARN: figures are given, with a warning. FAIL: they are no labels.
    level: IntegrityLevel
    #: What a fault means, in a sentence; also for a PASS.
    message: str
    #: In one line: the faults, or what was checked.
    evidence: str
    remedy: str
    stage: Stage | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _with_shared_texts, ({f.name: getattr(self, f.name) for f in fields(self)},)


def _with_shared_texts(values: dict[str, Any]) -> IntegrityResult:
    shared: dict[str, Any] = {
        name: intern(value) if isinstance(value, str) else value for name, value in values.items()
    }
    return IntegrityResult(**shared)


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """An input that was not analysed, and why."""

    source: str
    reason: str
    remedy: str
