"""Everything that says why a run took its time: plain rows, one list a table, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from trace_timing.records import Manifest, RunRecord, Stage
from trace_timing.stats.hta_beside import BesideHta, beside_hta
from trace_timing.stats.limits import Limit, limits
from trace_timing.stats.verdicts import StageEvidence, Verdict, verdicts
from trace_timing.timeline.communication import Communication, communication
from trace_timing.timeline.components import ComponentTime, component_times
from trace_timing.timeline.figures import run_figures, sums
from trace_timing.timeline.graphs import GraphNode, GraphUse, graph_nodes, graph_use
from trace_timing.timeline.grouping import forwards, stage_of_key, stages_of
from trace_timing.timeline.idle import IdleCause, idle_causes
from trace_timing.timeline.kind_times import KindTime, kind_times
from trace_timing.timeline.layout import RunTimeline
from trace_timing.timeline.queue import DepthBin, QueueFigures, depth_over_time, queue_figures
from trace_timing.timeline.spans import Span, spans
from trace_timing.timeline.sync_loops import SyncLoop, sync_loops
from trace_timing.trace.events import Trace
from trace_timing.units import IntArray


@dataclass(frozen=True, kw_only=True)
class Why:
    """One run taken apart. Each tuple is a table of trace_timing.schema, less the run's key."""

    kinds: tuple[KindTime, ...]
    idle: tuple[IdleCause, ...]
    queue: tuple[QueueFigures, ...]
    queue_depth: tuple[DepthBin, ...]
    sync_loops: tuple[SyncLoop, ...]
    communication: tuple[Communication, ...]
    graphs: tuple[GraphUse, ...]
    graph_nodes: tuple[GraphNode, ...]
    components: tuple[ComponentTime, ...]
    verdicts: tuple[Verdict, ...]
    spans: tuple[Span, ...]
    limits: tuple[Limit, ...] = ()
    #: Beside HTA: on request alone, it takes longer than all the rest.
    hta: tuple[BesideHta, ...] = ()

    def rows(self, run_key: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """Rows of every table, `run_key` (sample_id, repeat, rank) before each."""
        return {
            table: [{**run_key, **vars(row)} for row in getattr(self, table)]
            for table in WHY_TABLES
        }


WHY_TABLES: tuple[str, ...] = tuple(Why.__dataclass_fields__)


def why(
    trace: Trace,
    run: RunTimeline,
    *,
    manifest: Manifest | None = None,
    record: RunRecord | None = None,
    hta: bool = False,
) -> Why:
    """Take one run apart.

    Args:
        manifest, record: what the floors of `limits` rest on; without them there are none.
        hta: run HTA's analyses beside ours.
    Raises:
        UsageError: HTA is asked for and not installed.
    """
    kinds, idle, queue = kind_times(trace, run), idle_causes(trace, run), queue_figures(run)
    loops, nccl, graphs = sync_loops(trace, run), communication(trace, run), graph_use(trace, run)
    window, busy = window_by_stage(run), _by_stage(run, run_figures(run).busy_ns)
    said: list[Verdict] = []
    for stage in stages_of(run):
        if stage == "unattributed" or run.clock == "host":
            continue
        evidence = StageEvidence(
            stage=stage,
            window_ns=window[stage],
            busy_ns=busy[stage],
            run_ns=run.window_end_ns - run.window_start_ns,
            forwards=forwards(run, stage),
            causes=_of(stage, idle),
            kinds=_of(stage, kinds),
            queue=next(iter(_of(stage, queue)), None),
            loop=next(iter(_of(stage, loops)), None),
            graph=next(iter(_of(stage, graphs)), None),
            communication=_of(stage, nccl),
        )
        said += verdicts(evidence)
    return Why(
        kinds=kinds,
        idle=idle,
        queue=queue,
        queue_depth=depth_over_time(run),
        sync_loops=loops,
        communication=nccl,
        graphs=graphs,
        graph_nodes=graph_nodes(trace, run),
        components=component_times(trace, run),
        verdicts=tuple(said),
        spans=spans(trace, run),
        limits=limits(manifest, record, window, busy),
        hta=beside_hta(trace, run, idle, kinds, queue) if hta else (),
    )


Row = TypeVar("Row", IdleCause, KindTime, QueueFigures, SyncLoop, GraphUse, Communication)


def _of(stage: Stage, rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.stage == stage)


def window_by_stage(run: RunTimeline) -> dict[Stage, int]:
    """What tiling gives each stage of the run, in ns."""
    return _by_stage(run, run_figures(run).window_ns)


def _by_stage(run: RunTimeline, of_keys: IntArray) -> dict[Stage, int]:
    stages = stages_of(run)
    return dict(zip(stages, sums(stage_of_key(run), of_keys, len(stages)).tolist(), strict=True))
