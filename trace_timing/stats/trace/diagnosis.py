"""The rows of all tables that explain a run's time (`why/`), its verdicts included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from trace_timing.arrays import IntArray
from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import RunRecord
from trace_timing.schema.breakdown import (
    BesideHta,
    Communication,
    ComponentTime,
    DepthBin,
    GraphNode,
    GraphUse,
    IdleCause,
    KindTime,
    Limit,
    QueueFigures,
    Span,
    SyncLoop,
    Verdict,
)
from trace_timing.stages import NUMBERED_STAGES, Stage
from trace_timing.stats.trace.bottlenecks import StageEvidence, verdicts
from trace_timing.stats.trace.hta_beside import beside_hta
from trace_timing.stats.trace.roofline import limits
from trace_timing.timeline.breakdown.communication import communication
from trace_timing.timeline.breakdown.components import component_times
from trace_timing.timeline.breakdown.graphs import graph_nodes, graph_use
from trace_timing.timeline.breakdown.grouping import forwards, stage_of_key, stages_of
from trace_timing.timeline.breakdown.idle_causes import idle_causes
from trace_timing.timeline.breakdown.kind_times import kind_times
from trace_timing.timeline.breakdown.launch_queue import depth_over_time, queue_figures
from trace_timing.timeline.breakdown.spans import spans
from trace_timing.timeline.breakdown.sync_loops import sync_loops
from trace_timing.timeline.build.metrics import run_figures, sums
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.timeline.build.recorded_part import (
    NOT_RECORDED,
    partly_recorded,
    recorded_part,
    recorded_steps,
)
from trace_timing.trace.events import Trace


@dataclass(frozen=True, kw_only=True)
class Why:
    """The explanation of one run: for each table of `why/` its rows, without the run's key."""

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
    #: Only on request: HTA takes longer than all the rest.
    hta: tuple[BesideHta, ...] = ()


WHY_TABLES: tuple[str, ...] = tuple(Why.__dataclass_fields__)


def why(
    trace: Trace,
    run: RunTimeline,
    *,
    manifest: Manifest | None = None,
    record: RunRecord | None = None,
    hta: bool = False,
) -> Why:
    """Explain one run's time; of a partly recorded stage, that of its recorded steps.

    Args:
        manifest, record: model, device rates and tokens for `limits`, which is empty without them.
        hta: run HTA's analyses too.
    Raises:
        UsageError: HTA is asked for and not installed.
    """
    part = recorded_part(run)
    kinds, idle, queue = kind_times(trace, part), idle_causes(trace, part), queue_figures(part)
    rows = Why(
        kinds=kinds,
        idle=idle,
        queue=queue,
        queue_depth=depth_over_time(run),
        sync_loops=sync_loops(trace, part),
        communication=communication(trace, part),
        graphs=graph_use(trace, part),
        graph_nodes=graph_nodes(trace, part),
        components=component_times(trace, part),
        verdicts=(),
        spans=spans(trace, run),
        limits=limits(manifest, record, *_of_part(run), _recorded_decode(run)),
        # HTA cannot leave out gaps in a recording.
        hta=beside_hta(trace, run, idle, kinds, queue) if hta and part is run else (),
    )
    rows = _of_known_stages(rows)
    return replace(rows, verdicts=_verdicts(run, rows))


def _of_known_stages(found: Why) -> Why:
    """Leave out the rows of NOT_RECORDED."""
    tables = {
        name: tuple(row for row in getattr(found, name) if row.stage != NOT_RECORDED)
        for name in WHY_TABLES
        if name not in ("queue_depth", "hta")
    }
    return replace(found, **tables)


def _verdicts(run: RunTimeline, found: Why) -> tuple[Verdict, ...]:
    """The verdicts on each stage; none without a device timeline."""
    if run.clock == "host":
        return ()
    part, run_ns = recorded_part(run), run.window_end_ns - run.window_start_ns
    (window, busy), whole = _of_part(run), window_by_stage(run)
    found_verdicts: list[Verdict] = []
    for stage in stages_of(part):
        if stage in ("unattributed", NOT_RECORDED):
            continue
        evidence = StageEvidence(
            stage=stage,
            window_ns=window[stage],
            busy_ns=busy[stage],
            # So that the stage's share of it is the whole stage's share of the whole run.
            run_ns=run_ns * window[stage] // whole[stage] if whole[stage] else run_ns,
            forwards=forwards(part, stage),
            causes=_of(stage, found.idle),
            kinds=_of(stage, found.kinds),
            queue=next(iter(_of(stage, found.queue)), None),
            loop=next(iter(_of(stage, found.sync_loops)), None),
            graph=next(iter(_of(stage, found.graphs)), None),
            communication=_of(stage, found.communication),
            recorded_of=_recorded_of(run, stage),
        )
        found_verdicts += verdicts(evidence)
    return tuple(found_verdicts)


def _recorded_of(run: RunTimeline, stage: Stage) -> tuple[int, int] | None:
    """Number of recorded steps and of all steps; None where equal."""
    if stage not in partly_recorded(run) or stage not in NUMBERED_STAGES:
        return None
    steps = recorded_steps(run, stage)
    return int(steps.recorded.sum()), len(steps.steps)


def _recorded_decode(run: RunTimeline) -> tuple[int, ...] | None:
    """Numbers of the decode steps in the figures; None for all."""
    if not run.unrecorded:
        return None
    steps = recorded_steps(run, "decode")
    return tuple(steps.steps[steps.recorded].tolist())


def _of_part(run: RunTimeline) -> tuple[dict[Stage, int], dict[Stage, int]]:
    """Window and busy time of each stage's recorded part, in ns."""
    part, figures = recorded_part(run), run_figures(run)
    return _by_stage(part, figures.window_ns), _by_stage(part, figures.busy_ns)


Row = TypeVar("Row", IdleCause, KindTime, QueueFigures, SyncLoop, GraphUse, Communication)


def _of(stage: Stage, rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.stage == stage)


def window_by_stage(run: RunTimeline) -> dict[Stage, int]:
    """Window of each stage of the run, in ns."""
    return _by_stage(run, run_figures(run).window_ns)


def _by_stage(run: RunTimeline, of_keys: IntArray) -> dict[Stage, int]:
    stages = stages_of(run)
    return dict(zip(stages, sums(stage_of_key(run), of_keys, len(stages)).tolist(), strict=True))
