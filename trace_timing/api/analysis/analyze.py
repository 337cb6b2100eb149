"""analyze(): find traces, analyse them one by one or spread, and join the results."""

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
    #: Folder for the tables; None: a temporary one that is deleted with the Analysis.
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
        stages: a stages.toml that maps others' range names; or the name of a built-in map (vllm,
            sglang, trtllm, transformers) or `auto`, which picks one of these for each trace by its
            range names.
        progress: called after each trace with its outcome, the count so far and the total.
        jobs: number of processes; the results do not depend on it.
        scheduler: address of a Dask scheduler to use instead of processes.
        cache: folder that caches compact stores and results, up to 4 GB of each, so that the next
            analysis of a trace is quick.
        tables: folder to write the tables to, as Parquet; None: they are deleted with the result.
        parts: folder for the results of single traces until all are done.
        resume: use the results that an earlier analysis left in `parts`, and leave them there.
        components: recognise the model's components by the order of CPU ops also in traces that
            were not recorded by `capture --profile full`; reading these takes longer.
        hta: also run HolisticTraceAnalysis, for the table `hta`.
        max_inflation: how many times its size a .gz may inflate to, beyond 256 MB.
        debug: let an internal error end the analysis; otherwise it rejects the trace.
    Raises:
        NothingReadError: none of the inputs could be read.
        UsageError: the stage map is wrong, or HTA is requested and not installed.
    """
    if hta:
        require_hta()
    if cache:
        remove_abandoned(cache.glob(".*.partial"))
    inputs = find_inputs(str(p) for p in paths)
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
    analysis = analysis_of(inputs, execution)
    if stages is None:
        return analysis
    return _with_doubtful_patterns(analysis, known_stages, inputs, max_inflation)


def analysis_of(
    inputs: Inputs,
    execution: Execution,
    *,
    shown: dict[str, tuple[SampleDetail, ...]] | None = None,
) -> Analysis:
    """Analyse inputs. Tables are written as results come; only summaries stay in memory.

    Args:
        shown: timelines of earlier analyses, by trace; updated to those of this one.
    Raises:
        NothingReadError: no input gave a result.
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
    """Write the tables; return the results without them, each's recorded runs, and rejections."""
    few = len(inputs.sources) <= MOST_DETAILS
    results: list[TraceResult] = []
    owned: list[Owned] = []
    rejections = list(inputs.rejections)
    outcomes = each(inputs, replace(execution, settings=replace(execution.settings, details=few)))
    for done, outcome in enumerate(outcomes, 1):
        if outcome.result:
            writers.append(outcome.result.tables)
            results.append(outcome.result.without_tables())
            # Not the outcome's manifest: from another process that is a copy.
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
    """Join the results with those over whole captures into an Analysis."""
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
    """The analysis with warnings about the user's stage map, if any pattern is doubtful."""
    readable = {trace.trace for trace in analysis.traces}
    first = next((s.local for s in inputs.sources if s.name in readable), None)
    stages_seen = set(analysis.tables["stages"]["stage"].to_pylist())
    warnings = doubtful_patterns(stages, stages_seen, first, max_inflation) if first else ()
    return replace(analysis, warnings=(*analysis.warnings, *warnings)) if warnings else analysis


def stage_map(stages: str | Path | StageMap | None) -> StageMap:
    """The stage map: as given, a built-in one by name, from a file, or for None the default."""
    if stages is None:
        return DEFAULT_STAGES
    if isinstance(stages, StageMap):
        return stages
    return stage_map_of(stages) if isinstance(stages, str) else read_stage_map(stages)


def each(inputs: Inputs, execution: Execution) -> Iterator[Outcome]:
    """The outcome of each source, in their order, from the result cache where it has them."""
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
    """Write the table `ranks`, which compares the traces of one sample."""
    from trace_timing.stats.capture.ranks import compare_ranks

    frames = (frame_of(tables[name]) for name in ("stages", "communication", "spans"))
    ranks = compare_ranks(*frames)[list(schema.RANKS.names)]
    rows = pa.Table.from_pandas(ranks, schema=schema.RANKS.arrow(), preserve_index=False)
    tables.replace("ranks", rows)
