"""analyze(): traces in, tables and a report out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from trace_timing import schema
from trace_timing.api.capture_level import CaptureLevel, Owned, capture_level
from trace_timing.api.one_trace import Outcome, Settings, analyze_trace
from trace_timing.api.parts import Parts, parts_of
from trace_timing.api.shown_timelines import MOST_DETAILS, shown_timelines
from trace_timing.api.sources import Inputs, find_inputs
from trace_timing.api.spreading import spread
from trace_timing.api.stored_tables import StoredTables, TableWriters
from trace_timing.api.unmatched import unmatched_patterns
from trace_timing.atomic import remove_abandoned
from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED, NothingReadError
from trace_timing.records import Doubt, Manifest, Rejection, RunRecord
from trace_timing.report.model import ReportData, SampleDetail, Section
from trace_timing.stats.growth import LatencyGrowth
from trace_timing.stats.hta_bridge import require_hta
from trace_timing.stats.recording_effect import RecordingEffect
from trace_timing.stats.step_latency import with_latencies
from trace_timing.stats.trace_result import RunSummary, TraceResult, TraceSummary
from trace_timing.timeline.builtin_stages import stage_map_of
from trace_timing.timeline.stages import DEFAULT_STAGES, StageMap, read_stage_map
from trace_timing.trace.cache import LIMIT_BYTES
from trace_timing.trace.inflating import MOST_INFLATION

if TYPE_CHECKING:
    import pandas as pd

    from trace_timing.report.notebook import Figures
    from trace_timing.stats.statistics import Statistics


@dataclass(frozen=True, kw_only=True, repr=False)
class Analysis:
    """The result of analyze(): tables as pandas DataFrames, and what to say about them.

    Shows itself in a notebook; `figures` has the report's figures to restyle.
    """

    tables: StoredTables
    run_summaries: tuple[RunSummary, ...]
    traces: tuple[TraceSummary, ...]
    rejections: tuple[Rejection, ...]
    manifests: tuple[Manifest, ...] = ()
    #: Of every run of the captures among the inputs, of either role.
    records: tuple[RunRecord, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    #: Recorded ÷ control; None where no sample has both.
    recording_effect: RecordingEffect | None = None
    #: How a decode step's latency changes with its position; None without controls of steps.
    growth: LatencyGrowth | None = None
    #: Timelines of the runs that the report shows in full.
    details: tuple[SampleDetail, ...] = ()

    @cached_property
    def samples(self) -> pd.DataFrame:
        """schema.SAMPLES and metadata columns: a row a sample, its latencies first."""
        return self._frame("samples")

    @cached_property
    def runs(self) -> pd.DataFrame:
        """schema.RUNS, a row a run, recorded or control."""
        return self._frame("runs")

    @cached_property
    def stages(self) -> pd.DataFrame:
        """schema.STAGES, a row a run and stage."""
        return self._frame("stages")

    @cached_property
    def device_stages(self) -> pd.DataFrame:
        """schema.DEVICE_STAGES, a row a run, device and stage."""
        return self._frame("device_stages")

    @cached_property
    def steps(self) -> pd.DataFrame:
        """schema.STEPS, a row a run (or unrecorded sample) and step."""
        return self._frame("steps")

    @cached_property
    def step_summary(self) -> pd.DataFrame:
        """Times of a server's forwards by stage and batch size; empty without such a trace."""
        from trace_timing.stats.step_summaries import serving_summary

        return serving_summary(self.steps, self.run_summaries, self.traces)

    @cached_property
    def generate_steps(self) -> pd.DataFrame:
        """`steps` without those of servers' traces, whose numbers are no positions."""
        from trace_timing.stats.step_summaries import generate_steps

        return generate_steps(self.steps, self.run_summaries, self.traces)

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """schema.KERNELS, a row a run, stage and op name."""
        return self._frame("kernels")

    def _frame(self, name: str) -> pd.DataFrame:
        return _frame(self.tables[name])

    @cached_property
    def statistics(self) -> Statistics:
        """Noise floor, growth with size and outliers over the runs."""
        from trace_timing.stats.statistics import statistics

        return statistics(self.samples, self.runs, self.generate_steps, self.records, self.growth)

    @property
    def figures(self) -> Figures:
        """The report's figures as plotly figures: `.split()`, `.steps()`, `.timeline("id")` …"""
        from trace_timing.report.notebook import Figures

        return Figures(self._brief_data)

    def _repr_html_(self) -> str:
        """What a notebook shows of an analysis."""
        from trace_timing.report.notebook import summary_html

        return summary_html(self._brief_data)

    def __repr__(self) -> str:
        samples, doubts = self.samples["sample_id"].nunique(), len(self._brief_data.doubts)
        return f"<Analysis of {samples} samples, {len(self.runs)} runs, {doubts} doubts>"

    @cached_property
    def _brief_data(self) -> ReportData:
        return self.report_data(pages=False)

    @property
    def laws_hold(self) -> bool:
        """Whether every law holds on every run and trace."""
        return all(
            law.holds
            for laws in (*(r.laws for r in self.run_summaries), *(t.laws for t in self.traces))
            for law in laws
        )

    @property
    def is_sound(self) -> bool:
        """Whether no check of integrity failed on any run or trace; warnings are no failure."""
        each = (*(r.checked for r in self.run_summaries), *(t.checked for t in self.traces))
        return all(result.level != "FAIL" for results in each for result in results)

    @property
    def exit_code(self) -> int:
        """0 good; 1 something rejected, unattributed as a whole, unsound, or a law broken."""
        attributed = not any(t.all_unattributed for t in self.traces)
        good = self.laws_hold and self.is_sound and attributed and not self.rejections
        return EXIT_GOOD if good else EXIT_REJECTED

    def summary(self) -> dict[str, Any]:
        """What summary.json holds: plain values, ready for JSON."""
        from trace_timing.report.export import plain, statistics_summary, summary_of

        said = summary_of(
            self.run_summaries, self.traces, self.rejections, self.manifests, self.doubts
        )
        told = statistics_summary(self.statistics)
        return {**said, "recording_effect": plain(self.recording_effect), **told}

    def report_data(self, *, pages: bool = True) -> ReportData:
        """Everything the report is drawn from.

        Args:
            pages: with the further pages and their figures, which the terminal has no use for.
        """
        return ReportData(
            samples=self.samples,
            runs=self.runs,
            stages=self.stages,
            device_stages=self.device_stages,
            steps=self.steps,
            # A name is 200 letters long and occurs in every run.
            kernels=_frame(self.tables.read("kernels", words=("name", "stage", "op"))),
            summary=self.summary(),
            details={detail.run: detail for detail in self.details},
            sections=self._sections() if pages else (),
        )

    def _sections(self) -> tuple[Section, ...]:
        from trace_timing.report.statistics_section import statistics_section
        from trace_timing.report.why_section import why_section
        from trace_timing.stats.why import WHY_TABLES

        names = (*WHY_TABLES, "ranks")
        why = why_section({name: self._frame(name) for name in names}, self.stages)
        numbers = statistics_section(self.statistics, self.samples, self.generate_steps)
        return (why, numbers) if why else (numbers,)


Progress = Callable[[Outcome, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How an analysis is done. Its result depends on the settings alone."""

    settings: Settings
    jobs: int = 1
    scheduler: str | None = None
    parts: Parts | None = None
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
        stages=known_stages,
        cache=cache,
        components=components,
        hta=hta,
        max_inflation=max_inflation,
        debug=debug,
    )
    kept, resume = parts_of(parts, settings, resume=resume)
    way = Way(
        settings=settings,
        jobs=jobs,
        scheduler=scheduler,
        parts=kept,
        resume=resume,
        tables=tables,
        progress=progress,
    )
    analysis = analysis_of(found, way)
    if stages is None:
        return analysis
    return _with_unmatched(analysis, known_stages, found, max_inflation)


def analysis_of(
    inputs: Inputs, way: Way, *, shown: dict[str, tuple[SampleDetail, ...]] | None = None
) -> Analysis:
    """Analyse what was found. The tables are written as results come; here only summaries stay.

    Args:
        shown: timelines of earlier analyses, by trace; becomes those of this one.
    Raises:
        NothingReadError: there is no result.
    """
    shown = {} if shown is None else shown
    with TableWriters(way.tables) as writers:
        results, owned, rejections = _results(inputs, way, writers, shown)
        level = capture_level(inputs, owned)
        if not results and not len(level.tables["runs"]):
            raise _nothing_read(rejections)
        writers.append(level.tables)
    tables = writers.tables
    tables.replace("steps", with_latencies(tables["steps"], level.samples))
    if len({run.rank for result in results for run in result.runs}) > 1:
        _write_ranks(tables)
    if way.parts:
        if way.resume:
            way.parts.prune(LIMIT_BYTES)
        else:
            way.parts.clear()
    analysis = _analysis(inputs, results, rejections, level, tables)
    details = shown_timelines(inputs, way.settings, analysis.runs, shown)
    return replace(analysis, details=details)


def _results(
    inputs: Inputs, way: Way, writers: TableWriters, shown: dict[str, tuple[SampleDetail, ...]]
) -> tuple[list[TraceResult], list[Owned], list[Rejection]]:
    """Results without their tables, which are written; what each says of its capture's samples."""
    few = len(inputs.sources) <= MOST_DETAILS
    results: list[TraceResult] = []
    owned: list[Owned] = []
    rejections = list(inputs.rejections)
    outcomes = each(inputs, replace(way, settings=replace(way.settings, details=few)))
    for done, outcome in enumerate(outcomes, 1):
        if outcome.result:
            writers.append(outcome.result.tables)
            results.append(replace(outcome.result, tables={}))
            # Not of the outcome: what comes back from another process is a copy.
            owner = inputs.sources[done - 1].manifest
            owned.append((owner, outcome.result.recorded))
        if outcome.rejection:
            rejections.append(outcome.rejection)
        if outcome.details:
            shown[outcome.source.name] = outcome.details
        if way.progress:
            way.progress(outcome, done, len(inputs.sources))
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
        doubts=level.warnings,
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


def _with_unmatched(
    analysis: Analysis, stages: StageMap, inputs: Inputs, max_inflation: float
) -> Analysis:
    readable = {trace.trace for trace in analysis.traces}
    first = next((s.local for s in inputs.sources if s.name in readable), None)
    found = set(analysis.tables["stages"]["stage"].to_pylist())
    doubt = unmatched_patterns(stages, found, first, max_inflation) if first else None
    return replace(analysis, doubts=(*analysis.doubts, doubt)) if doubt else analysis


def stage_map(stages: str | Path | StageMap | None) -> StageMap:
    """The map itself, a built-in one by its name, the one in a file, or the project's own names."""
    if stages is None:
        return DEFAULT_STAGES
    if isinstance(stages, StageMap):
        return stages
    return stage_map_of(stages) if isinstance(stages, str) else read_stage_map(stages)


def each(inputs: Inputs, way: Way) -> Iterator[Outcome]:
    """The outcome of each source, in their order. Those with a part cost no analysis."""
    parts = way.parts
    keys = [parts.key(source) if parts else None for source in inputs.sources]
    known = [bool(parts and way.resume and parts.has(key)) for key in keys]
    waiting = [(n, s) for n, s in enumerate(inputs.sources) if not known[n]]
    fresh = spread(waiting, way.settings, jobs=way.jobs, scheduler=way.scheduler)
    early: dict[int, Outcome] = {}
    for number, source in enumerate(inputs.sources):
        key = keys[number]
        if known[number] and parts and key:
            yield parts.load(source, key) or analyze_trace(source, way.settings)
            continue
        while number not in early:
            other, outcome = next(fresh)
            early[other] = outcome
            if parts:
                parts.save(outcome, keys[other])
        yield early.pop(number)


def _frame(table: pa.Table) -> pd.DataFrame:
    # Nullable integers: a null must not turn nanoseconds into floats.
    import pandas as pd

    kinds = {pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=kinds.get)
    return frame


def _write_ranks(tables: StoredTables) -> None:
    """The table `ranks` beside those of each trace: it compares the traces of one sample."""
    from trace_timing.stats.ranks import compare_ranks

    frames = (_frame(tables[name]) for name in ("stages", "communication", "spans"))
    found = compare_ranks(*frames)[list(schema.RANKS.names)]
    rows = pa.Table.from_pandas(found, schema=schema.RANKS.arrow(), preserve_index=False)
    tables.replace("ranks", rows)
