"""Join the results of a trace's processes into one. Figures are never summed over ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from trace_timing.records.findings import FigureWarning, IntegrityLevel, IntegrityResult
from trace_timing.stats.trace.trace_result import TraceResult, TraceSummary
from trace_timing.timeline.build.clocks import ClockTolerance
from trace_timing.trace.integrity.counts import Integrity

_SEVERITY: tuple[IntegrityLevel, ...] = ("PASS", "WARN", "FAIL")


def joined(results: Sequence[TraceResult], pids: Sequence[str]) -> TraceResult:
    """One result of a trace from those of its processes.

    Args:
        pids: the processes' pids, in the results' order.
    """
    if len(results) == 1:
        return results[0]
    names = results[0].tables
    return TraceResult(
        tables={name: pa.concat_tables([r.tables[name] for r in results]) for name in names},
        runs=tuple(run for r in results for run in r.runs),
        summary=_summary(results, pids),
        recorded=tuple(run for r in results for run in r.recorded),
    )


def _summary(results: Sequence[TraceResult], pids: Sequence[str]) -> TraceSummary:
    """The trace's summary: all processes' checks and warnings, the worst clocks, summed counts."""
    summaries = [r.summary for r in results]
    ranks = [r.runs[0].rank for r in results]
    unattributed: Counter[str] = Counter()
    for summary in summaries:
        unattributed.update(summary.unattributed)
    warnings = tuple(
        replace(warning, rank=rank)
        for rank, summary in zip(ranks, summaries, strict=True)
        for warning in summary.warnings
    )
    return replace(
        summaries[0],
        checks=tuple(check for summary in summaries for check in summary.checks),
        warnings=(_several(results[0].runs[0].sample_id, ranks, pids), *warnings),
        unattributed=dict(unattributed),
        has_stage_ranges=all(summary.has_stage_ranges for summary in summaries),
        all_unattributed=any(summary.all_unattributed for summary in summaries),
        clocks=_clocks([summary.clocks for summary in summaries]),
        integrity=_integrity([summary.integrity for summary in summaries]),
        checked=_checked([summary.checked for summary in summaries], pids),
    )


def _several(sample_id: str, ranks: Sequence[int], pids: Sequence[str]) -> FigureWarning:
    processes = "; ".join(f"rank {r}: process {pid}" for r, pid in zip(ranks, pids, strict=True))
    return FigureWarning(
        code="several_processes",
        message="The trace holds several processes: each has rows of its own, under a rank.",
        evidence=processes,
        remedy="if these are no ranks of one run, give the trace of each process by itself",
        sample_id=sample_id,
    )


def _checked(
    each: Sequence[tuple[IntegrityResult, ...]], pids: Sequence[str]
) -> tuple[IntegrityResult, ...]:
    """The worst result of each check, in the table's order, with its process in the evidence."""
    worst = []
    for results in zip(*each, strict=True):
        number = max(range(len(results)), key=lambda n: _SEVERITY.index(results[n].level))
        result = results[number]
        worst.append(replace(result, evidence=f"process {pids[number]}: {result.evidence}"))
    return tuple(worst)


def _clocks(each: Sequence[ClockTolerance]) -> ClockTolerance:
    starts = [c.launch_to_start_ns for c in each if c.launch_to_start_ns is not None]
    returns = [c.end_to_sync_return_ns for c in each if c.end_to_sync_return_ns is not None]
    return ClockTolerance(
        min(starts, default=None), min(returns, default=None), sum(c.early_ops for c in each)
    )


def _integrity(each: Sequence[Integrity]) -> Integrity:
    return Integrity(
        overlong_ops=sum(i.overlong_ops for i in each),
        overlong_ns=sum(i.overlong_ns for i in each),
        launches_without_ops=sum(i.launches_without_ops for i in each),
        launches=sum(i.launches for i in each),
        lost_at_head=sum(i.lost_at_head for i in each),
        launches_at_switches=sum(i.launches_at_switches for i in each),
    )
