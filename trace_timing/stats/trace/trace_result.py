"""The result of one trace: rows of every table, checks, warnings. Small, and picklable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from trace_timing import schema
from trace_timing.records.findings import CheckResult, FigureWarning, IntegrityResult
from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import RunRecord
from trace_timing.schema.table import Row, packed, unpacked
from trace_timing.stages import Stage
from trace_timing.stats.latency.evidence import FAULTS, RecordedRun
from trace_timing.stats.latency.record_columns import part_columns, record_columns
from trace_timing.stats.latency.recorded_times import (
    busy_times,
    decode_steps,
    recorded_part_of,
    recorded_times,
)
from trace_timing.stats.latency.times import in_ms
from trace_timing.stats.trace.diagnosis import WHY_TABLES, why
from trace_timing.stats.trace.unread import clock_host
from trace_timing.stats.trace.warnings import (
    check_warnings,
    integrity_warnings,
    run_warnings,
    trace_warnings,
)
from trace_timing.timeline.build.clocks import ClockTolerance, clock_tolerance
from trace_timing.timeline.build.control_cut import by_stage, segments_of
from trace_timing.timeline.build.metrics import run_figures
from trace_timing.timeline.build.model import RunTimeline, forward_keys
from trace_timing.timeline.build.recorded_part import NOT_RECORDED, recorded_part
from trace_timing.timeline.build.runs import TraceTimeline
from trace_timing.timeline.integrity.subject import RunSubject, TraceSubject
from trace_timing.timeline.integrity.table import run_integrity, trace_integrity
from trace_timing.timeline.rows.checks import checked_tables, run_checks, trace_checks
from trace_timing.timeline.rows.tables import (
    Columns,
    RunKey,
    device_columns,
    join,
    kernel_times,
    stage_columns,
    step_columns,
    stray_columns,
)
from trace_timing.trace.events import Trace
from trace_timing.trace.integrity.counts import Integrity, check_integrity
from trace_timing.trace.links import gpu_op_rows


@dataclass(frozen=True, kw_only=True)
class TraceSource:
    """One trace to analyse, with its record and manifest, if any."""

    #: Path or URL of the trace.
    location: str
    #: Its name in messages and tables: relative, so that no path of this machine is published.
    name: str
    sample_id: str
    repeat: int | None = None
    rank: int | None = None
    record: RunRecord | None = None
    #: The manifest of its capture directory.
    manifest: Manifest | None = None

    @property
    def local(self) -> str:
        """Its location as a path, if it is a local file."""
        return self.location.removeprefix("file://")


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run's entry in summary.json."""

    sample_id: str
    repeat: int
    rank: int
    trace: str
    clock: str
    window_ns: int
    checks: tuple[CheckResult, ...]
    warnings: tuple[FigureWarning, ...]
    #: Number of decode steps by `recorded` or the reason why not.
    steps: Mapping[str, int] = field(default_factory=dict)
    #: All integrity checks of the run, passed ones too.
    checked: tuple[IntegrityResult, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TraceSummary:
    """One trace's entry in summary.json."""

    trace: str
    checks: tuple[CheckResult, ...]
    warnings: tuple[FigureWarning, ...]
    unattributed: Mapping[str, int]
    has_stage_ranges: bool
    #: No range at all, or not one GPU op in a stage or a run.
    all_unattributed: bool
    clocks: ClockTolerance
    integrity: Integrity
    #: All integrity checks of the trace as a whole, passed ones too.
    checked: tuple[IntegrityResult, ...] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    #: Built-in map that the range names were read with; empty for a file's and the default names.
    stage_map: str = ""
    #: Whether it is a server's trace, in which every forward is a step.
    serving: bool = False


@dataclass(frozen=True, kw_only=True)
class TraceResult:
    """The tables of a trace by name (schema.TABLES), and the summaries of its runs."""

    tables: Mapping[str, pa.Table]
    runs: tuple[RunSummary, ...]
    summary: TraceSummary
    #: Each run's figures for its sample.
    recorded: tuple[RecordedRun, ...] = ()
    #: The tables as they came from another process, or empty.
    came_packed: Mapping[str, bytes] = field(default_factory=dict, compare=False)

    def packed_tables(self) -> Mapping[str, bytes]:
        """The tables as bytes."""
        if self.came_packed:
            return self.came_packed
        return {name: packed(table) for name, table in self.tables.items()}

    def without_tables(self) -> TraceResult:
        """What is kept of a result whose rows are written."""
        return replace(self, tables={}, came_packed={})

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_packed, (self.packed_tables(), self.runs, self.summary, self.recorded)


def _of_packed(tables: Mapping[str, bytes], *rest: Any) -> TraceResult:
    runs, summary, recorded = rest
    return TraceResult(
        tables={name: unpacked(data) for name, data in tables.items()},
        runs=runs,
        summary=summary,
        recorded=recorded,
        came_packed=tables,
    )


@dataclass(frozen=True)
class _Run:
    """One run with its key."""

    timeline: RunTimeline
    key: RunKey


def run_keys(source: TraceSource, timeline: TraceTimeline, trace: Trace) -> list[RunKey]:
    """The key of each run: from its record, or else numbered.

    Several runs in a trace without a record are separate samples, as their inputs may differ.
    """
    rank = source.rank
    if rank is None or trace.info.processes:  # of several, each has its own
        rank = trace.info.rank or 0
    if source.record is None and len(timeline.runs) > 1:
        return [RunKey(f"{source.sample_id}#{r.ordinal}", 0, rank) for r in timeline.runs]
    first = source.repeat or 0
    return [RunKey(source.sample_id, first + run.ordinal, rank) for run in timeline.runs]


def result_of(
    trace: Trace, timeline: TraceTimeline, source: TraceSource, *, hta: bool = False
) -> TraceResult:
    """Compute every row, check and warning of a trace.

    Args:
        hta: also fill the table `hta`.
    """
    keys = run_keys(source, timeline, trace)
    runs = [_Run(*r) for r in zip(timeline.runs, keys, strict=True)]
    tables = _tables(trace, timeline, runs, source, hta=hta)
    if len(timeline.stray):
        stray = stray_columns(timeline, RunKey(source.sample_id, None, keys[0].rank))
        tables["stages"] = pa.concat_tables([tables["stages"], stray.arrow()])
    summary = _trace_summary(trace, timeline, source, tables["stages"])
    tokens = source.record.tokens_out if source.record else None
    no_device = clock_host(trace, summary.integrity)
    is_alone = len(runs) == 1 and not len(timeline.stray)
    summaries = tuple(
        _run_summary(
            run,
            RunSubject(trace=trace, timeline=timeline, run=run.timeline, tokens_out=tokens),
            source,
            run_checks(run.timeline, *checked_tables(tables, None if is_alone else run.key)),
            no_device,
        )
        for run in runs
    )
    recorded = tuple(_recorded(run, s, summary) for run, s in zip(runs, summaries, strict=True))
    tables["runs"] = _run_rows(recorded, summaries, summary, source)
    return TraceResult(tables=tables, runs=summaries, summary=summary, recorded=recorded)


def _recorded(run: _Run, run_summary: RunSummary, summary: TraceSummary) -> RecordedRun:
    """One run's figures for its sample."""
    timeline, figures = run.timeline, run_figures(run.timeline)
    sums = zip(timeline.keys, figures.kernel_sum_ns.tolist(), strict=True)
    kernel_sums: dict[Stage, int] = {}
    for key, ns in sums:
        kernel_sums[key.stage] = kernel_sums.get(key.stage, 0) + ns
    codes = {w.code for w in (*run_summary.warnings, *summary.warnings)}
    return RecordedRun(
        sample_id=run.key.sample_id,
        repeat=run.key.repeat or 0,
        rank=run.key.rank,
        clock=timeline.clock,
        cut_ns=_of_known(by_stage(segments_of(recorded_part(timeline)))),
        recorded_ns=recorded_times(timeline),
        busy_ns=busy_times(timeline),
        kernel_sum_ns={stage: ns for stage, ns in kernel_sums.items() if ns},
        decode_steps=decode_steps(timeline),
        gpu_ops=None if timeline.unrecorded else len(timeline.ops),
        part=recorded_part_of(timeline),
        faults=tuple(sorted(FAULTS & codes)),
    )


def _of_known(cut_ns: Mapping[Stage, int]) -> dict[Stage, int]:
    return {stage: ns for stage, ns in cut_ns.items() if stage != NOT_RECORDED}


def _run_rows(
    recorded: Sequence[RecordedRun],
    summaries: Sequence[RunSummary],
    summary: TraceSummary,
    source: TraceSource,
) -> pa.Table:
    rows = [
        {
            "sample_id": run.sample_id,
            "repeat": run.repeat,
            "rank": run.rank,
            "role": "recorded",
            **in_ms("", run.recorded_ns),
            **in_ms("_busy", run.busy_ns),
            "decode_steps": run.decode_steps,
            **part_columns([run]),
            "checks_hold": all(check.holds for check in (*own.checks, *summary.checks)),
            "warnings": ",".join(sorted({w.code for w in (*own.warnings, *summary.warnings)})),
            "clock": run.clock,
            "trace": source.name,
            **record_columns(source.record),
        }
        for run, own in zip(recorded, summaries, strict=True)
    ]
    return schema.RUNS.of_rows(rows)


def _tables(
    trace: Trace,
    timeline: TraceTimeline,
    runs: Sequence[_Run],
    source: TraceSource,
    *,
    hta: bool,
) -> dict[str, pa.Table]:
    makers: Mapping[str, Callable[[_Run], Columns]] = {
        "stages": lambda r: stage_columns(trace, timeline, r.timeline, r.key),
        "device_stages": lambda r: device_columns(r.timeline, r.key),
        "steps": lambda r: step_columns(trace, timeline, r.timeline, r.key),
    }
    tables = {
        name: join([make(r) for r in runs], schema.TABLES[name]) for name, make in makers.items()
    }
    return {**tables, **_tables_of_rows(trace, runs, source, hta=hta)}


def _tables_of_rows(
    trace: Trace, runs: Sequence[_Run], source: TraceSource, *, hta: bool
) -> dict[str, pa.Table]:
    """The tables whose rows are made one by one."""
    parts: dict[str, list[pa.Table]] = {name: [] for name in ("kernels", *WHY_TABLES)}
    for run in runs:
        run_key = run.key._asdict()
        explanation = why(
            trace,
            run.timeline,
            manifest=source.manifest,
            record=source.record,
            hta=hta,
        )
        rows = {"kernels": kernel_times(trace, run.timeline), **vars(explanation)}
        for name, some in rows.items():
            if some:
                columns = columns_of_rows(some, run_key)
                parts[name].append(pa.table(columns, schema=schema.TABLES[name].arrow()))
    return {
        name: pa.concat_tables(of_runs) if of_runs else schema.TABLES[name].arrow().empty_table()
        for name, of_runs in parts.items()
    }


def columns_of_rows(rows: Sequence[Row], run_key: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The fields of n ≥ 1 rows as columns, behind those of `run_key` (sample_id, repeat, rank)."""
    own = {name: [getattr(row, name) for row in rows] for name in rows[0].__struct_fields__}
    return {name: [value] * len(rows) for name, value in run_key.items()} | own


def _trace_summary(
    trace: Trace, timeline: TraceTimeline, source: TraceSource, stages: pa.Table
) -> TraceSummary:
    clocks, integrity = clock_tolerance(trace), check_integrity(trace)
    checks = trace_checks(trace, stages)
    checked = trace_integrity(TraceSubject(trace=trace, timeline=timeline))
    warnings = (
        *integrity_warnings(checked),
        *trace_warnings(trace, timeline),
        *check_warnings(checks),
    )
    return TraceSummary(
        trace=source.name,
        checks=checks,
        warnings=tuple(replace(w, sample_id=source.sample_id) for w in warnings),
        unattributed=timeline.unattributed,
        has_stage_ranges=timeline.has_stage_ranges,
        all_unattributed=_all_unattributed(trace, timeline),
        clocks=clocks,
        integrity=integrity,
        checked=checked,
        versions=trace.info.versions,
        devices=tuple(d.name for d in trace.info.devices),
        stage_map=timeline.stage_map,
        serving=timeline.serving,
    )


def _steps_by_reason(run: RunTimeline) -> dict[str, int]:
    keys = [key for key in forward_keys(run) if run.keys[key].stage == "decode"]
    return dict(Counter(run.unrecorded.get(key, "recorded") for key in keys))


def _all_unattributed(trace: Trace, timeline: TraceTimeline) -> bool:
    ops = len(gpu_op_rows(trace.events))
    return not timeline.has_ranges or (0 < ops == sum(timeline.unattributed.values()))


def _run_summary(
    run: _Run,
    subject: RunSubject,
    source: TraceSource,
    checks: tuple[CheckResult, ...],
    no_device: FigureWarning,
) -> RunSummary:
    key, timeline = run.key, run.timeline
    checked = run_integrity(subject)
    warnings = (
        *integrity_warnings(checked),
        *run_warnings(timeline, no_device),
        *check_warnings(checks),
    )
    return RunSummary(
        sample_id=key.sample_id,
        repeat=key.repeat or 0,
        rank=key.rank,
        trace=source.name,
        clock=timeline.clock,
        window_ns=timeline.window_end_ns - timeline.window_start_ns,
        steps=_steps_by_reason(timeline),
        checks=checks,
        warnings=tuple(
            replace(w, sample_id=key.sample_id, repeat=key.repeat, rank=key.rank) for w in warnings
        ),
        checked=checked,
    )
