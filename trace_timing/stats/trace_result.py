"""Everything that one trace yields: rows of every table, laws, doubts. Small, and picklable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trace_timing import schema
from trace_timing.records import Doubt, LawResult, Manifest, RunRecord
from trace_timing.stats.doubts import law_doubts, run_doubts, trace_doubts
from trace_timing.stats.observer import ObservedRun
from trace_timing.stats.samples import sample_row
from trace_timing.stats.why import WHY_TABLES, why
from trace_timing.table import packed, unpacked
from trace_timing.timeline.clocks import ClockTolerance, clock_tolerance
from trace_timing.timeline.control_cut import (
    SegmentKey,
    by_stage,
    control_segments,
    segments_of,
    usable_controls,
)
from trace_timing.timeline.laws import run_laws, trace_laws
from trace_timing.timeline.layout import RunTimeline
from trace_timing.timeline.runs import TraceTimeline
from trace_timing.timeline.tables import (
    Columns,
    RunKey,
    device_columns,
    join,
    kernel_columns,
    stage_columns,
    step_columns,
    stray_columns,
)
from trace_timing.trace.events import Trace
from trace_timing.trace.integrity import Integrity, check_integrity


@dataclass(frozen=True, kw_only=True)
class TraceSource:
    """One trace to analyse, and what is recorded about it."""

    #: Path or URL of the trace.
    location: str
    #: Its name in messages and tables: relative, never a path of this machine.
    name: str
    sample_id: str
    repeat: int | None = None
    rank: int | None = None
    record: RunRecord | None = None
    #: Of the capture directory that it lies in.
    manifest: Manifest | None = None
    #: The control runs of the same sample.
    controls: tuple[RunRecord, ...] = ()

    @property
    def local(self) -> str:
        """Its location as a path, where it is a file of this machine."""
        return self.location.removeprefix("file://")


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What summary.json says of one run."""

    sample_id: str
    repeat: int
    rank: int
    trace: str
    clock: str
    window_ns: int
    laws: tuple[LawResult, ...]
    doubts: tuple[Doubt, ...]


@dataclass(frozen=True, kw_only=True)
class TraceSummary:
    """What summary.json says of one trace."""

    trace: str
    laws: tuple[LawResult, ...]
    doubts: tuple[Doubt, ...]
    unattributed: Mapping[str, int]
    has_stage_ranges: bool
    clocks: ClockTolerance
    integrity: Integrity
    versions: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    #: Built-in map that the range names were read with; empty for a file's and the default names.
    stage_map: str = ""
    #: A server's trace: its forwards are a population of steps.
    serving: bool = False


@dataclass(frozen=True, kw_only=True)
class TraceResult:
    """Tables by name (schema.TABLES), and what to say about them."""

    tables: Mapping[str, pa.Table]
    runs: tuple[RunSummary, ...]
    summary: TraceSummary
    #: The runs that have a control beside them.
    observed: tuple[ObservedRun, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        tables = {name: packed(table) for name, table in self.tables.items()}
        return _of_packed, (tables, self.runs, self.summary, self.observed)


def _of_packed(tables: Mapping[str, bytes], *rest: Any) -> TraceResult:
    runs, summary, observed = rest
    whole = {name: unpacked(data) for name, data in tables.items()}
    return TraceResult(tables=whole, runs=runs, summary=summary, observed=observed)


@dataclass(frozen=True)
class _Run:
    """One run with its key and its controls' segments."""

    timeline: RunTimeline
    key: RunKey
    control: Mapping[SegmentKey, int]


def run_keys(source: TraceSource, timeline: TraceTimeline, trace: Trace) -> list[RunKey]:
    """The key of each run: the record's where there is one, else counted and read."""
    rank = source.rank
    if (
        rank is None or trace.info.processes
    ):  # one of several has its own rank, whatever is recorded
        rank = trace.info.rank or 0
    first = source.repeat or 0
    return [RunKey(source.sample_id, first + run.ordinal, rank) for run in timeline.runs]


def result_of(
    trace: Trace, timeline: TraceTimeline, source: TraceSource, *, hta: bool = False
) -> TraceResult:
    """Compute every row, law and doubt of a trace.

    Args:
        hta: fill the table `hta`.
    """
    keys = run_keys(source, timeline, trace)
    control = control_segments(usable_controls(source.controls, timeline.runs[0].clock))
    runs = [_Run(*r, control) for r in zip(timeline.runs, keys, strict=True)]
    tables = _tables(trace, timeline, runs, source, hta=hta)
    if len(timeline.stray):
        stray = stray_columns(timeline, RunKey(source.sample_id, None, keys[0].rank))
        tables["stages"] = pa.concat_tables([tables["stages"], stray.arrow()])
    summary = _trace_summary(trace, timeline, source, tables["stages"])
    said = tuple(_run_summary(run, source, tables) for run in runs)
    rows = [_sample(run, source, s, summary) for run, s in zip(runs, said, strict=True)]
    tables["samples"] = sample_table(rows)
    observed = tuple(_observed(run, source) for run in runs if run.control)
    return TraceResult(tables=tables, runs=said, summary=summary, observed=observed)


def _observed(run: _Run, source: TraceSource) -> ObservedRun:
    # Its own group's controls, made within seconds of it; the sample's where it has none.
    own = [c for c in source.controls if c.repeat == run.key.repeat]
    control = control_segments(usable_controls(own, run.timeline.clock)) or run.control
    return ObservedRun(
        sample_id=run.key.sample_id,
        repeat=run.key.repeat or 0,
        profiled_ns=by_stage(segments_of(run.timeline)),
        control_ns=by_stage(control),
    )


def _tables(
    trace: Trace,
    timeline: TraceTimeline,
    runs: Sequence[_Run],
    source: TraceSource,
    *,
    hta: bool,
) -> dict[str, pa.Table]:
    makers: Mapping[str, Callable[[_Run], Columns]] = {
        "stages": lambda r: stage_columns(trace, timeline, r.timeline, r.key, r.control),
        "device_stages": lambda r: device_columns(r.timeline, r.key),
        "steps": lambda r: step_columns(trace, timeline, r.timeline, r.key, r.control),
        "kernels": lambda r: kernel_columns(trace, r.timeline, r.key),
    }
    tables = {
        name: join([make(r) for r in runs], schema.TABLES[name]) for name, make in makers.items()
    }
    return {**tables, **_why_tables(trace, runs, source, hta=hta)}


def _why_tables(
    trace: Trace, runs: Sequence[_Run], source: TraceSource, *, hta: bool
) -> dict[str, pa.Table]:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in WHY_TABLES}
    for run in runs:
        taken_apart = why(
            trace,
            run.timeline,
            manifest=source.manifest,
            record=source.record,
            hta=hta,
        )
        for name, some in taken_apart.rows(asdict(run.key)).items():
            rows[name] += some
    return {
        name: pa.Table.from_pylist(some, schema=schema.TABLES[name].arrow())
        for name, some in rows.items()
    }


def sample_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table: the schema's columns typed, metadata beside them as Arrow infers it."""
    expected = schema.SAMPLES.arrow()
    extra = sorted({name for row in rows for name in row} - set(schema.SAMPLES.names))
    typed = {f.name: pa.array([r.get(f.name) for r in rows], f.type) for f in expected}
    free = {name: _inferred([r.get(name) for r in rows]) for name in extra}
    fields = [*expected, *(pa.field(n, a.type) for n, a in free.items())]
    return pa.table({**typed, **free}, schema=pa.schema(fields))


def _inferred(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if v is None else str(v) for v in values])


def _trace_summary(
    trace: Trace, timeline: TraceTimeline, source: TraceSource, stages: pa.Table
) -> TraceSummary:
    clocks, integrity = clock_tolerance(trace), check_integrity(trace)
    laws = trace_laws(trace, stages)
    doubts = (*trace_doubts(trace, timeline, integrity, clocks), *law_doubts(laws))
    return TraceSummary(
        trace=source.name,
        laws=laws,
        doubts=tuple(replace(d, sample_id=source.sample_id) for d in doubts),
        unattributed=timeline.unattributed,
        has_stage_ranges=timeline.has_stage_ranges,
        clocks=clocks,
        integrity=integrity,
        versions=trace.info.versions,
        devices=tuple(d.name for d in trace.info.devices),
        stage_map=timeline.stage_map,
        serving=timeline.serving,
    )


def _of_run(table: pa.Table, key: RunKey) -> pa.Table:
    return table.filter(pc.equal(table["repeat"], key.repeat))


def _run_summary(run: _Run, source: TraceSource, tables: Mapping[str, pa.Table]) -> RunSummary:
    key, timeline = run.key, run.timeline
    laws = run_laws(timeline, _of_run(tables["stages"], key), _of_run(tables["device_stages"], key))
    doubts = (*run_doubts(timeline, source.record), *law_doubts(laws))
    return RunSummary(
        sample_id=key.sample_id,
        repeat=key.repeat or 0,
        rank=key.rank,
        trace=source.name,
        clock=timeline.clock,
        window_ns=timeline.window_end_ns - timeline.window_start_ns,
        laws=laws,
        doubts=tuple(
            replace(d, sample_id=key.sample_id, repeat=key.repeat, rank=key.rank) for d in doubts
        ),
    )


def _sample(
    run: _Run, source: TraceSource, said: RunSummary, summary: TraceSummary
) -> dict[str, Any]:
    codes = {d.code for d in (*said.doubts, *summary.doubts)}
    row: dict[str, Any] = {
        "sample_id": run.key.sample_id,
        "repeat": run.key.repeat,
        "rank": run.key.rank,
        **sample_row(run.timeline, source.record, run.control),
        "laws_hold": all(law.holds for law in (*said.laws, *summary.laws)),
        "doubts": ",".join(sorted(codes)),
        "clock": run.timeline.clock,
        "trace": source.name,
    }
    metadata = source.record.metadata if source.record else {}
    return {**{_free_name(name): value for name, value in metadata.items()}, **row}


def _free_name(name: str) -> str:
    return f"meta_{name}" if name in schema.SAMPLES.names else name
