"""Analyse one trace: read it, build its timeline, compute its rows. Runs in any process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trace_timing.api.analysis.recorded_files import sha256_expected
from trace_timing.errors import TraceError, TraceTimingError
from trace_timing.records.findings import Rejection
from trace_timing.report.detail import sample_detail
from trace_timing.report.model import SampleDetail
from trace_timing.stats.trace.several_processes import joined
from trace_timing.stats.trace.trace_result import TraceResult, TraceSource, result_of, run_keys
from trace_timing.timeline.build.processes import LaidOut, lay_out_each
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, StageMap
from trace_timing.timeline.rows.tables import RunKey
from trace_timing.trace.events import Trace
from trace_timing.trace.files.cache import open_through
from trace_timing.trace.kineto.inflating import MOST_INFLATION


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of an analysis, the same for all its traces."""

    stages: StageMap = DEFAULT_STAGES
    #: Return the data of each run's timeline figure too.
    details: bool = False
    #: Let an internal error end the analysis with its traceback.
    debug: bool = False
    #: Read the CPU ops of every trace, to recognise the model's components.
    components: bool = False
    #: Fill the table `hta`, with HTA's figures beside ours.
    hta: bool = False
    #: Cache folder of compact stores; None: read every trace anew.
    cache: Path | None = None
    #: How many times its size a .gz may inflate to.
    max_inflation: float = MOST_INFLATION


@dataclass(frozen=True)
class Outcome:
    """One trace's result, or why it has none."""

    source: TraceSource
    result: TraceResult | None
    rejection: Rejection | None
    details: tuple[SampleDetail, ...] = ()


def analyze_trace(source: TraceSource, settings: Settings) -> Outcome:
    """Analyse one trace; an error in it becomes a rejection and not an exception."""
    try:
        trace = _open(source, settings)
        laid_out = lay_out_each(trace, settings.stages)
        if not all(timeline.runs for _, timeline in laid_out):
            raise TraceError(
                f"{source.name}: nothing to time",
                why="no range, no GPU op, no API call in it",
                remedy="record it around a generate() call",
            )
        results = [
            result_of(part, timeline, source, hta=settings.hta) for part, timeline in laid_out
        ]
        result = joined(results, [pid for part, _ in laid_out for pid in part.info.processes])
        details = _details(laid_out, source) if settings.details else ()
        return Outcome(source, result, None, details)
    except TraceTimingError as error:
        return Outcome(source, None, reject(source, error))
    except Exception as error:
        if settings.debug:
            raise
        return Outcome(source, None, reject(source, _defect(error)))


def _defect(error: Exception) -> TraceError:
    """The error for a trace on which trace-timing has an internal error; others go on."""
    first, *_ = str(error).splitlines() or [""]
    return TraceError(
        "internal error in trace-timing while analysing it",
        why=f"{type(error).__name__}: {first}",
        remedy="run the same with `trace-timing --debug …` on this trace and report what it shows",
    )


def timelines(source: TraceSource, settings: Settings) -> tuple[SampleDetail, ...]:
    """Only the timelines of a trace; none where it can no longer be read."""
    try:
        trace = _open(source, settings)
        return _details(lay_out_each(trace, settings.stages), source)
    except TraceTimingError:
        return ()


def _open(source: TraceSource, settings: Settings) -> Trace:
    """Read the trace, verified against its record, through the cache."""
    mode = source.manifest.settings.get("profile") if source.manifest else None
    wanted = settings.components or mode == "full"
    return open_through(
        source.local,
        settings.cache,
        cpu_ops=wanted,
        sha256=sha256_expected(source),
        max_inflation=settings.max_inflation,
    )


def _details(laid_out: LaidOut, source: TraceSource) -> tuple[SampleDetail, ...]:
    return tuple(
        sample_detail(trace, run, RunKey(key.sample_id, key.repeat or 0, key.rank))
        for trace, timeline in laid_out
        for run, key in zip(timeline.runs, run_keys(source, timeline, trace), strict=True)
    )


def reject(source: TraceSource, error: TraceTimingError) -> Rejection:
    """A rejection that names the trace without this machine's path."""
    text = f"{error.what}: {error.why}" if error.why else error.what
    reason = text.replace(source.local, source.name).removeprefix(f"{source.name}: ")
    return Rejection(source=source.name, reason=reason, remedy=error.remedy)
