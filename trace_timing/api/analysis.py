"""analyze(): traces in, tables and a report out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from trace_timing import schema
from trace_timing.api.correction import with_costs
from trace_timing.api.one_trace import Outcome, Settings, analyze_trace
from trace_timing.api.parts import Parts
from trace_timing.api.sources import Inputs, find_inputs
from trace_timing.api.spreading import spread
from trace_timing.api.unmatched import unmatched_patterns
from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED, NothingReadError
from trace_timing.records import Doubt, Manifest, Rejection, RunRecord
from trace_timing.report.model import ReportData, SampleDetail, Section
from trace_timing.stats.hta_bridge import require_hta
from trace_timing.stats.observer import ObserverEffect, observer_effect
from trace_timing.stats.trace_result import RunSummary, TraceResult, TraceSummary
from trace_timing.timeline.stages import DEFAULT_STAGES, StageMap, read_stage_map

if TYPE_CHECKING:
    import pandas as pd

    from trace_timing.stats.statistics import Statistics


#: Runs whose whole timeline the report carries.
MOST_DETAILS = 12


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The result of analyze(): tables as pandas DataFrames, and what to say about them."""

    tables: Mapping[str, pa.Table]
    runs: tuple[RunSummary, ...]
    traces: tuple[TraceSummary, ...]
    rejections: tuple[Rejection, ...]
    manifests: tuple[Manifest, ...] = ()
    #: Of the profiled runs, where the traces came with records; and of the controls.
    records: tuple[RunRecord, ...] = ()
    controls: tuple[RunRecord, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    #: What profiling did to the capture; None where no run has a record.
    observer: ObserverEffect | None = None
    #: Timelines of the runs that the report shows in full.
    details: tuple[SampleDetail, ...] = ()

    @cached_property
    def samples(self) -> pd.DataFrame:
        """schema.SAMPLES and metadata columns, a row a run."""
        return self._frame("samples")

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
        """schema.STEPS, a row a run and decode step."""
        return self._frame("steps")

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

        return statistics(self.samples, self.steps, self.records, self.controls)

    @property
    def laws_hold(self) -> bool:
        """Whether every law holds on every run and trace."""
        return all(
            law.holds
            for laws in (*(r.laws for r in self.runs), *(t.laws for t in self.traces))
            for law in laws
        )

    @property
    def exit_code(self) -> int:
        """0 good; 1 something rejected, unattributed as a whole, or a law broken."""
        whole = all(t.has_stage_ranges for t in self.traces)
        good = self.laws_hold and whole and not self.rejections
        return EXIT_GOOD if good else EXIT_REJECTED

    def summary(self) -> dict[str, Any]:
        """What summary.json holds: plain values, ready for JSON."""
        from trace_timing.report.export import plain, statistics_summary, summary_of

        said = summary_of(self.runs, self.traces, self.rejections, self.manifests, self.doubts)
        told = statistics_summary(self.statistics)
        return {**said, "observer_effect": plain(self.observer), **told}

    def report_data(self, *, pages: bool = True) -> ReportData:
        """Everything the report is drawn from.

        Args:
            pages: with the further pages and their figures, which the terminal has no use for.
        """
        return ReportData(
            samples=self.samples,
            stages=self.stages,
            device_stages=self.device_stages,
            steps=self.steps,
            kernels=self.kernels,
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
        numbers = statistics_section(self.statistics, self.samples)
        return (why, numbers) if why else (numbers,)


Progress = Callable[[Outcome, int, int], None]


def analyze(
    *paths: str | Path,
    stages: str | Path | StageMap | None = None,
    progress: Progress | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    cache: Path | None = None,
    parts: Path | None = None,
    resume: bool = False,
    hta: bool = False,
) -> Analysis:
    """Derive stage latencies from traces.

    Args:
        paths: trace files, globs, directories, capture directories or URLs.
        stages: a stages.toml that maps other people's range names.
        progress: called after each trace with its outcome, the count so far and the total.
        jobs: processes to spread the traces over; the results do not depend on it.
        scheduler: address of a Dask scheduler to spread them over instead.
        cache: folder for compact stores, from which a trace is read faster the next time.
        parts: folder that holds each result from when it is there until all are.
        resume: go on from the results that an earlier analysis left there, and leave them.
        hta: run HolisticTraceAnalysis beside our analysis, for the table `hta`.
    Raises:
        NothingReadError: not one of the inputs could be read.
        UsageError: the stage map is wrong, or HTA is asked for and not installed.
    """
    if hta:
        require_hta()
    found = find_inputs(str(p) for p in paths)
    known_stages = stage_map(stages)
    correction = with_costs(found.sources, found.manifests, known_stages)
    inputs = replace(found, sources=correction.sources)
    few = len(inputs.sources) <= MOST_DETAILS
    settings = Settings(stages=known_stages, details=few, cache=cache, hta=hta)
    kept = Parts(parts, settings) if parts else None
    outcomes: dict[int, Outcome] = {}
    for number, outcome in each(
        inputs, settings, kept, resume=resume, jobs=jobs, scheduler=scheduler
    ):
        outcomes[number] = outcome
        if progress:
            progress(outcome, len(outcomes), len(inputs.sources))
    analysis = gather(inputs, [outcomes[number] for number in sorted(outcomes)], correction.doubts)
    if stages is not None:
        analysis = _with_unmatched(analysis, known_stages, inputs)
    return (
        analysis if few else replace(analysis, details=_telling_details(inputs, settings, analysis))
    )


def _with_unmatched(analysis: Analysis, stages: StageMap, inputs: Inputs) -> Analysis:
    readable = {trace.trace for trace in analysis.traces}
    first = next((s.local for s in inputs.sources if s.name in readable), None)
    found = set(analysis.tables["stages"]["stage"].to_pylist())
    doubt = unmatched_patterns(stages, found, first) if first else None
    return replace(analysis, doubts=(*analysis.doubts, doubt)) if doubt else analysis


def _telling_details(
    inputs: Inputs, settings: Settings, analysis: Analysis
) -> tuple[SampleDetail, ...]:
    """Of many runs: those around the median, the slowest and the fastest, in full."""
    order = analysis.samples.sort_values("T_total_ms")["trace"].drop_duplicates().tolist()
    middle = len(order) // 2
    near = order[max(middle - MOST_DETAILS // 4, 0) : middle + MOST_DETAILS // 4]
    chosen = {*near, *order[: MOST_DETAILS // 4], *order[-(MOST_DETAILS // 4) :]}
    full = replace(settings, details=True)
    picked = [s for s in inputs.sources if s.name in chosen]
    return tuple(d for s in picked for d in analyze_trace(s, full).details)


def stage_map(stages: str | Path | StageMap | None) -> StageMap:
    """The map itself, the one in a file, or the project's own names."""
    if stages is None:
        return DEFAULT_STAGES
    return stages if isinstance(stages, StageMap) else read_stage_map(stages)


def each(
    inputs: Inputs,
    settings: Settings,
    parts: Parts | None = None,
    *,
    resume: bool = False,
    jobs: int = 1,
    scheduler: str | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Outcomes with the positions of their sources, as they come; each position once.

    Those with a part come first and cost no analysis; the others leave one.
    """
    waiting = []
    for number, source in enumerate(inputs.sources):
        known = parts.load(source) if parts and resume else None
        if known:
            yield number, known
        else:
            waiting.append((number, source))
    for number, outcome in spread(waiting, settings, jobs=jobs, scheduler=scheduler):
        if parts:
            parts.save(outcome)
        yield number, outcome
    if parts and not resume:
        parts.clear()


def gather(inputs: Inputs, outcomes: Iterable[Outcome], doubts: Sequence[Doubt] = ()) -> Analysis:
    """Join the outcomes of an analysis.

    Args:
        doubts: about the analysis as a whole, that of the observer effect apart.

    Raises:
        NothingReadError: there is no result among them.
    """
    outcomes = list(outcomes)
    results = [o.result for o in outcomes if o.result]
    rejections = (*inputs.rejections, *(o.rejection for o in outcomes if o.rejection))
    if not results:
        first = rejections[0] if rejections else None
        raise NothingReadError(
            "no trace could be read",
            why="; ".join(f"{r.source}: {r.reason}" for r in rejections[:5]) or "no input named",
            remedy=first.remedy if first else "name a trace, a directory or a URL",
        )
    observer = _observer(inputs, results)
    return Analysis(
        tables=_with_ranks(
            {name: _joined(name, [r.tables[name] for r in results]) for name in results[0].tables}
        ),
        runs=tuple(run for r in results for run in r.runs),
        traces=tuple(r.summary for r in results),
        rejections=rejections,
        manifests=inputs.manifests,
        records=tuple(s.record for s in inputs.sources if s.record),
        controls=inputs.controls,
        doubts=(*doubts, *(observer.doubts if observer else ())),
        observer=observer,
        details=tuple(d for o in outcomes for d in o.details),
    )


def _observer(inputs: Inputs, results: Sequence[TraceResult]) -> ObserverEffect | None:
    recorded = sum(s.record is not None for s in inputs.sources)
    if not recorded:
        return None
    return observer_effect([o for r in results for o in r.observed], inputs.controls, recorded)


def _frame(table: pa.Table) -> pd.DataFrame:
    # Nullable integers: a null must not turn nanoseconds into floats.
    import pandas as pd

    kinds = {pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=kinds.get)
    return frame


def _with_ranks(tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The table `ranks` beside those of each trace: it compares the traces of one sample."""
    expected = schema.RANKS.arrow()
    if len(tables["stages"]["rank"].unique()) < 2:
        return {**tables, "ranks": expected.empty_table()}
    from trace_timing.stats.ranks import compare_ranks

    frames = (_frame(tables[name]) for name in ("stages", "communication", "spans"))
    found = compare_ranks(*frames)[list(schema.RANKS.names)]
    return {**tables, "ranks": pa.Table.from_pandas(found, schema=expected, preserve_index=False)}


def _joined(name: str, parts: Sequence[pa.Table]) -> pa.Table:
    # Metadata columns may be there in some samples only, or as int here and float there.
    joined = pa.concat_tables(parts, promote_options="permissive")
    return schema.check(joined, schema.TABLES[name])
