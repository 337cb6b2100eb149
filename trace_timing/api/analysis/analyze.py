"""analyze(): traces in, tables and a report out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from trace_timing import schema
from trace_timing.api.analysis.capture_level import CaptureLevel, Owned, capture_level
from trace_timing.api.analysis.executor import spread
from trace_timing.api.analysis.inputs import Inputs, find_inputs
from trace_timing.api.analysis.result import Analysis, frame_of
from trace_timing.api.analysis.result_cache import ResultCache, result_cache_of
from trace_timing.api.analysis.shown_timelines import MOST_DETAILS, shown_timelines
from trace_timing.api.analysis.stage_map_check import doubtful_patterns
from trace_timing.api.analysis.table_files import StoredTables, TableWriters
from trace_timing.api.analysis.worker import Outcome, Settings, analyze_trace
from trace_timing.atomic_write import remove_abandoned
from trace_timing.errors import NothingReadError
from trace_timing.records.findings import Rejection
from trace_timing.report.model import SampleDetail
from trace_timing.stats.latency.step_latency import with_latencies
from trace_timing.stats.trace.hta_bridge import require_hta
from trace_timing.stats.trace.trace_result import TraceResult
from trace_timing.timeline.naming.builtin_maps import stage_map_of
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, StageMap, read_stage_map
from trace_timing.trace.files.cache import LIMIT_BYTES
from trace_timing.trace.kineto.inflating import MOST_INFLATION

if TYPE_CHECKING:
    pass


Progress = Callable[[Outcome, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Options of an analysis that do not change its result, and the settings that do."""

    settings: Settings
    jobs: int = 1
    scheduler: str | None = None
    parts: ResultCache | None = None
    resume: bool = False
    #: Folder for the tables; None: one that goes with the Analysis.
    tables: Path | None = None
    progress: Progress | None = None


def analyze(
    *paths: str | Path,
    stages: str | Path | StageMap | None = None,
    progress: Progress | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    cache: Path | None = None,
    tables: Path | None = None,
    parts: Path | None = None,
    resume: bool = False,
    components: bool = False,
    hta: bool = False,
    max_inflation: float = MOST_INFLATION,
    debug: bool = False,
) -> Analysis:
    """Derive stage latencies from traces.

    Args:
        paths: trace files, globs, directories, capture directories or URLs.
        stages: a stages.toml that maps other people's range names; or, as a text, the name of a
            built-in map (vllm, sglang, trtllm, transformers) or `auto`, which picks one of these
            for each trace by the names in it.
        progress: called after each trace with its outcome, the count so far and the total.
        jobs: processes to spread the traces over; the results do not depend on it.
        scheduler: address of a Dask scheduler to spread them over instead.
        cache: folder for compact stores and results, so that the next analysis of a trace costs
            next to nothing: up to 4 GB of each.
        tables: folder to write the tables to, as Parquet; without, they go with the result.
        parts: folder that holds each result from when it is there until all are.
        resume: go on from the results that an earlier analysis left there, and leave them.
        components: tell the parts of the model by the order of CPU ops also in traces that `capture
            --profile full` did not record; to read these takes longer.
        hta: run HolisticTraceAnalysis beside our analysis, for the table `hta`.
        max_inflation: how many times its size a .gz may inflate to, beyond 256 MB.
        debug: let a defect of ours end the analysis; otherwise it costs the trace that shows it.
    Raises:
        NothingReadError: not one of the inputs could be read.
        UsageError: the stage map is wrong, or HTA is asked for and not installed.
    """
    if hta:
        require_hta()
    if cache:
        remove_abandoned(cache.glob(".*.partial"))
    found = find_inputs(str(p) for p in paths)
    known_stages = stage_map(stages)
    settings = Settings(
        stages=known_stages, cache=cache, components=components, hta=hta,
        max_inflation=max_inflation, debug=debug,
    )  # fmt: skip
    kept, resume = result_cache_of(parts, settings, resume=resume)
    execution = Execution(
        settings=settings,
        jobs=jobs,
        scheduler=scheduler,
        parts=kept,
        resume=resume,
        tables=tables,
        progress=progress,
    )
    analysis = analysis_of(found, execution)
    if stages is None:
        return analysis
    return _with_doubtful_patterns(analysis, known_stages, found, max_inflation)


def analysis_of(
    inputs: Inputs,
    execution: Execution,
    *,
    shown: dict[str, tuple[SampleDetail, ...]] | None = None,
) -> Analysis:
    """Analyse what was found. The tables are written as results come; here only summaries stay.

    Args:
        shown: timelines of earlier analyses, by trace; becomes those of this one.
    Raises:
        NothingReadError: there is no result.
    """
    shown = {} if shown is None else shown
    with TableWriters(execution.tables) as writers:
        results, owned, rejections = _results(inputs, execution, writers, shown)
        level = capture_level(inputs, owned)
        if not results and not len(level.tables["runs"]):
            raise _nothing_read(rejections)
        writers.append(level.tables)
    tables = writers.tables
    tables.replace("steps", with_latencies(tables["steps"], level.samples))
    if len({run.rank for result in results for run in result.runs}) > 1:
        _write_ranks(tables)
    if execution.parts:
        if execution.resume:
            execution.parts.prune(LIMIT_BYTES)
        else:
            execution.parts.clear()
    analysis = _analysis(inputs, results, rejections, level, tables)
    details = shown_timelines(inputs, execution.settings, analysis.runs, shown)
    return replace(analysis, details=details)


def _results(
    inputs: Inputs,
    execution: Execution,
    writers: TableWriters,
    shown: dict[str, tuple[SampleDetail, ...]],
) -> tuple[list[TraceResult], list[Owned], list[Rejection]]:
    """Results without their tables, which are written; what each says of its capture's samples."""
    few = len(inputs.sources) <= MOST_DETAILS
    results: list[TraceResult] = []
    owned: list[Owned] = []
    rejections = list(inputs.rejections)
    outcomes = each(inputs, replace(execution, settings=replace(execution.settings, details=few)))
    for done, outcome in enumerate(outcomes, 1):
        if outcome.result:
            writers.append(outcome.result.tables)
            results.append(outcome.result.without_tables())
            # Not of the outcome: what comes back from another process is a copy.
            owner = inputs.sources[done - 1].manifest
            owned.append((owner, outcome.result.recorded))
        if outcome.rejection:
            rejections.append(outcome.rejection)
        if outcome.details:
            shown[outcome.source.name] = outcome.details
        if execution.progress:
            execution.progress(outcome, done, len(inputs.sources))
    return results, owned, rejections


def _analysis(
    inputs: Inputs,
    results: Sequence[TraceResult],
    rejections: Sequence[Rejection],
    level: CaptureLevel,
    tables: StoredTables,
) -> Analysis:
    return Analysis(
        tables=tables,
        run_summaries=tuple(run for r in results for run in r.runs),
        traces=tuple(r.summary for r in results),
        rejections=tuple(rejections),
        manifests=inputs.manifests,
        records=tuple(r for c in inputs.captures for r in (*c.recorded, *c.controls)),
        warnings=level.warnings,
        growth=level.growth,
        recording_effect=level.effect,
    )


def _nothing_read(rejections: Sequence[Rejection]) -> NothingReadError:
    first = rejections[0] if rejections else None
    return NothingReadError(
        "no trace could be read",
        why="; ".join(f"{r.source}: {r.reason}" for r in rejections[:5]) or "no input named",
        remedy=first.remedy if first else "name a trace, a directory or a URL",
    )


def _with_doubtful_patterns(
    analysis: Analysis, stages: StageMap, inputs: Inputs, max_inflation: float
) -> Analysis:
    readable = {trace.trace for trace in analysis.traces}
    first = next((s.local for s in inputs.sources if s.name in readable), None)
    found = set(analysis.tables["stages"]["stage"].to_pylist())
    warnings = doubtful_patterns(stages, found, first, max_inflation) if first else ()
    return replace(analysis, warnings=(*analysis.warnings, *warnings)) if warnings else analysis


def stage_map(stages: str | Path | StageMap | None) -> StageMap:
    """The map itself, a built-in one by its name, the one in a file, or the project's own names."""
    if stages is None:
        return DEFAULT_STAGES
    if isinstance(stages, StageMap):
        return stages
    return stage_map_of(stages) if isinstance(stages, str) else read_stage_map(stages)


def each(inputs: Inputs, execution: Execution) -> Iterator[Outcome]:
    """The outcome of each source, in their order. Those with a part cost no analysis."""
    parts = execution.parts
    keys = [parts.key(source) if parts else None for source in inputs.sources]
    known = [bool(parts and execution.resume and parts.has(key)) for key in keys]
    waiting = [(n, s) for n, s in enumerate(inputs.sources) if not known[n]]
    fresh = spread(waiting, execution.settings, jobs=execution.jobs, scheduler=execution.scheduler)
    early: dict[int, Outcome] = {}
    for number, source in enumerate(inputs.sources):
        key = keys[number]
        if known[number] and parts and key:
            yield parts.load(source, key) or analyze_trace(source, execution.settings)
            continue
        while number not in early:
            other, outcome = next(fresh)
            early[other] = outcome
            if parts:
                parts.save(outcome, keys[other])
        yield early.pop(number)


def _write_ranks(tables: StoredTables) -> None:
    """The table `ranks` beside those of each trace: it compares the traces of one sample."""
    from trace_timing.stats.capture.ranks import compare_ranks

    frames = (frame_of(tables[name]) for name in ("stages", "communication", "spans"))
    found = compare_ranks(*frames)[list(schema.RANKS.names)]
    rows = pa.Table.from_pandas(found, schema=schema.RANKS.arrow(), preserve_index=False)
    tables.replace("ranks", rows)
