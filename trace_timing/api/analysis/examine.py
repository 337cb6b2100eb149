"""Check the integrity of traces, without tables or a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trace_timing.api.analysis.analyze import stage_map
from trace_timing.api.analysis.inputs import find_inputs
from trace_timing.api.analysis.worker import Settings, analyze_trace
from trace_timing.errors import NothingReadError
from trace_timing.records.findings import FigureWarning, IntegrityLevel, IntegrityResult, Rejection
from trace_timing.stats.latency.evidence import FAULTS
from trace_timing.stats.trace.trace_result import TraceResult
from trace_timing.timeline.naming.stage_names import StageMap

_LEVELS: tuple[IntegrityLevel, ...] = ("PASS", "WARN", "FAIL")


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The checks of one trace, followed by those of its runs."""

    trace: str
    results: tuple[IntegrityResult, ...]

    @property
    def level(self) -> IntegrityLevel:
        """The worst of the results."""
        return max((r.level for r in self.results), key=_LEVELS.index, default="PASS")


def examine(*paths: str | Path, stages: str | Path | StageMap | None = None) -> Iterator[Examined]:
    """Check traces one by one; a refused trace has one result, a FAIL with the reason.

    Args:
        paths, stages: as in `analyze`.
    Raises:
        NothingReadError: there is no trace.
    """
    inputs = find_inputs(str(path) for path in paths)
    if not inputs.sources and not inputs.rejections:
        raise NothingReadError("no trace to examine", remedy="name a trace or a capture")
    settings = Settings(stages=stage_map(stages))
    for rejection in inputs.rejections:
        yield _refused(rejection)
    for source in inputs.sources:
        outcome = analyze_trace(source, settings)
        if outcome.rejection:
            yield _refused(outcome.rejection)
        elif outcome.result:
            yield Examined(trace=source.name, results=_results(outcome.result))


def _refused(rejection: Rejection) -> Examined:
    """The result of a trace that was rejected."""
    result = IntegrityResult(
        code="refused",
        level="FAIL",
        message="The trace is refused as a whole.",
        evidence=rejection.reason,
        remedy=rejection.remedy,
    )
    return Examined(trace=rejection.source, results=(result,))


def _results(result: TraceResult) -> tuple[IntegrityResult, ...]:
    """Every check, and the warnings that come from no check."""
    checked = [*result.summary.checked, *(r for run in result.runs for r in run.checked)]
    known = {r.code for r in checked}
    warnings = [*result.summary.warnings, *(w for run in result.runs for w in run.warnings)]
    return (*checked, *(_of_warning(warning) for warning in warnings if warning.code not in known))


def _of_warning(warning: FigureWarning) -> IntegrityResult:
    """A warning in the form of a check's result."""
    return IntegrityResult(
        code=warning.code,
        level="FAIL" if warning.code in FAULTS else "WARN",
        message=warning.message,
        evidence=warning.evidence,
        remedy=warning.remedy,
    )
