"""Rows and schemas of the tables in `why/`: what a run's time consists of.

A row is a `Row` whose annotated fields are the table's columns.
"""

from __future__ import annotations

from typing import Annotated, Literal

from trace_timing.schema.common import RUN_KEY, STAGE, STAGE_OF_PART
from trace_timing.schema.table import Column, Meaning, Row, Table, columns_of
from trace_timing.stages import Stage


class KindTime(Row, frozen=True, kw_only=True):
    """One kind of work in one stage."""

    stage: Annotated[Stage, STAGE_OF_PART]
    op_kind: Annotated[str, Meaning("", "Kind of work, by the op's name.")]
    gpu_ops: Annotated[int, Meaning("count", "Ops of that kind.")]
    kernel_sum_ns: Annotated[int, Meaning("ns", "Sum of their durations; kinds sum to the stage.")]
    busy_ns: Annotated[
        int,
        Meaning(
            "ns",
            "Busy time of the stage in which an op of that kind runs, where several overlap the "
            "one launched first; kinds sum to the stage.",
        ),
    ]


KINDS = Table(
    "kinds", ("sample_id", "repeat", "rank", "stage", "op_kind"), (*RUN_KEY, *columns_of(KindTime))
)


class IdleCause(Row, frozen=True, kw_only=True):
    """Idle time of one stage by one cause, or one API call."""

    stage: Annotated[Stage, STAGE_OF_PART]
    cause: Annotated[
        str,
        Meaning(
            "",
            "An op is launched and not started: `launch_latency` if the device had run out of "
            "work, else `device_gap`. With an empty queue, what the generating thread does: a "
            "`sync`, `alloc`, `copy`, `launch` or `api` call, or none (`host`). `tail`: after the "
            "run's last op.",
        ),
    ]
    call: Annotated[str | None, Meaning("", "The API call, if the cause is one.")]
    count: Annotated[int, Meaning("count", "Calls begun in the stage; without a call, intervals.")]
    call_ns: Annotated[int | None, Meaning("ns", "Host time inside those calls.")]
    idle_ns: Annotated[int, Meaning("ns", "Idle time of this cause; causes sum to the stage.")]


IDLE = Table(
    "idle",
    ("sample_id", "repeat", "rank", "stage", "cause", "call"),
    (*RUN_KEY, *columns_of(IdleCause)),
)


class QueueFigures(Row, frozen=True, kw_only=True):
    """How far ahead the host was in one stage."""

    stage: Annotated[Stage, STAGE_OF_PART]
    gpu_ops: Annotated[int, Meaning("count", "Ops of the stage.")]
    mean_depth: Annotated[float, Meaning("count", "Ops launched and not started; mean over time.")]
    max_depth: Annotated[int, Meaning("count", "Most ops launched and not started.")]
    launches: Annotated[int, Meaning("count", "Calls that launched them; a graph counts once.")]
    starved_launches: Annotated[int, Meaning("count", "Those made when no op was left to run.")]
    launch_bound_ns: Annotated[
        int,
        Meaning(
            "ns",
            "Idle time until an op of such a launch started. With `device_gap` and `tail` of the "
            "table `idle` it sums to the stage's idle time.",
        ),
    ]
    launch_bound_frac: Annotated[float | None, Meaning("fraction", "Its share of the window.")]
    latency_p50_ns: Annotated[
        float | None,
        Meaning(
            "ns",
            "From launch begin to op start, of starved launches; median.",
        ),
    ]
    latency_p95_ns: Annotated[float | None, Meaning("ns", "Its 95th percentile.")]


QUEUE = Table(
    "queue", ("sample_id", "repeat", "rank", "stage"), (*RUN_KEY, *columns_of(QueueFigures))
)


class DepthBin(Row, frozen=True, kw_only=True):
    """The queue's depth in one of 200 equal parts of the run's window."""

    bin: Annotated[int, Meaning("", "Number of the part, of 200 equal ones, from 0.")]
    start_ns: Annotated[int, Meaning("ns", "Its begin, from the window's begin.")]
    mean_depth: Annotated[float, Meaning("count", "Ops launched, not started; mean over the part.")]
    max_depth: Annotated[int, Meaning("count", "Most ops launched and not started in the part.")]


QUEUE_DEPTH = Table(
    "queue_depth", ("sample_id", "repeat", "rank", "bin"), (*RUN_KEY, *columns_of(DepthBin))
)


class SyncLoop(Row, frozen=True, kw_only=True):
    """Synchronizing calls of one stage, and the ops between them."""

    stage: Annotated[Stage, STAGE_OF_PART]
    syncs: Annotated[int, Meaning("count", "Synchronizing calls of the generating thread.")]
    call: Annotated[str, Meaning("", "The most frequent of them.")]
    call_count: Annotated[int, Meaning("count", "Number of these calls in the stage.")]
    run_call_count: Annotated[int, Meaning("count", "Number of these calls in the run.")]
    forwards: Annotated[int, Meaning("count", "Forwards in the stage: its steps, or 1.")]
    ops_between_median: Annotated[
        float, Meaning("count", "Ops launched between two of the syncs; median.")
    ]
    after_compaction: Annotated[
        int, Meaning("count", "Syncs with a nonzero() or kin launched since the last sync.")
    ]
    after_gemm: Annotated[
        int, Meaning("count", "Syncs with a matrix product launched since the last sync.")
    ]
    after_copy_to_host: Annotated[
        int, Meaning("count", "Syncs with a copy to the host launched since the last sync.")
    ]
    drained_ns: Annotated[
        int,
        Meaning(
            "ns",
            "Idle time in gaps in which such a call returned: the most that could be gained.",
        ),
    ]


SYNC_LOOPS = Table(
    "sync_loops", ("sample_id", "repeat", "rank", "stage"), (*RUN_KEY, *columns_of(SyncLoop))
)


class Communication(Row, frozen=True, kw_only=True):
    """Time in collectives of one stage and device; hidden + exposed = all of it."""

    stage: Annotated[Stage, STAGE_OF_PART]
    device: Annotated[int, Meaning("", "Device index in the trace.")]
    nccl_ops: Annotated[int, Meaning("count", "Collectives and transfers.")]
    hidden_ns: Annotated[int, Meaning("ns", "Time in them while another op of the device runs.")]
    exposed_ns: Annotated[int, Meaning("ns", "Time in them while no other op of the device runs.")]


COMMUNICATION = Table(
    "communication",
    ("sample_id", "repeat", "rank", "stage", "device"),
    (*RUN_KEY, *columns_of(Communication)),
)


class GraphUse(Row, frozen=True, kw_only=True):
    """Graph launches of one stage."""

    stage: Annotated[Stage, STAGE_OF_PART]
    graph_launches: Annotated[int, Meaning("count", "Replays of a CUDA or HIP graph.")]
    graph_ops: Annotated[int, Meaning("count", "Ops that they ran.")]
    kernel_sum_ns: Annotated[int, Meaning("ns", "Sum of their durations.")]
    nodes: Annotated[int | None, Meaning("count", "Distinct nodes by id; null without ids.")]


GRAPHS = Table(
    "graphs", ("sample_id", "repeat", "rank", "stage"), (*RUN_KEY, *columns_of(GraphUse))
)


class GraphNode(Row, frozen=True, kw_only=True):
    """One node of a graph over all its replays in a stage."""

    stage: Annotated[Stage, STAGE_OF_PART]
    told_by: Annotated[
        Literal["ids", "order"],
        Meaning(
            "",
            "How nodes are identified: by the trace's `ids`, else by `order`: replays of the same "
            "ops in the same order are one graph.",
        ),
    ]
    graph: Annotated[
        int | None,
        Meaning(
            "",
            "Id of the graph, null if only nodes have ids; by order, its number in the run by "
            "first launch, from 0.",
        ),
    ]
    node: Annotated[
        int,
        Meaning(
            "",
            "Id of the node, unique in its graph; by order, its place in the replay, from 0.",
        ),
    ]
    name: Annotated[str, Meaning("", "Op that it runs, by the first replay.")]
    count: Annotated[int, Meaning("count", "Number of its replays.")]
    total_ns: Annotated[int, Meaning("ns", "Sum of their durations; nodes sum to `graphs`.")]


GRAPH_NODES = Table(
    "graph_nodes",
    ("sample_id", "repeat", "rank", "stage", "told_by", "graph", "node", "name"),
    (*RUN_KEY, *columns_of(GraphNode)),
)


VerdictCode = Literal[
    "expert_sync_loop",
    "sync_bound",
    "allocator",
    "exposed_communication",
    "copies",
    "host_bound",
    "held_up",
    "device_bound",
]


class Verdict(Row, frozen=True, kw_only=True):
    """What bounds a stage, in a sentence, with its evidence and a remedy."""

    stage: Annotated[Stage, STAGE_OF_PART]
    code: Annotated[
        VerdictCode, Meaning("", "What bounds the stage: host_bound, expert_sync_loop …")
    ]
    sentence: Annotated[str, Meaning("", "The verdict in a sentence.")]
    evidence: Annotated[str, Meaning("", "The figures behind it.")]
    remedy: Annotated[str, Meaning("", "What would shorten the stage.")]


VERDICTS = Table(
    "verdicts", ("sample_id", "repeat", "rank", "stage", "code"), (*RUN_KEY, *columns_of(Verdict))
)


class ComponentTime(Row, frozen=True, kw_only=True):
    """One component of one layer in one stage."""

    stage: Annotated[Stage, STAGE_OF_PART]
    component: Annotated[
        str,
        Meaning(
            "",
            "attention, mlp, router, experts, norm, head, or `rest`.",
        ),
    ]
    layer: Annotated[int | None, Meaning("", "Number of its layer.")]
    gpu_ops: Annotated[int, Meaning("count", "Ops that it launched.")]
    kernel_sum_ns: Annotated[
        int, Meaning("ns", "Sum of their durations; components sum to the stage.")
    ]
    busy_ns: Annotated[int, Meaning("ns", "Busy time of these ops; components sum to the stage.")]
    source: Annotated[
        str,
        Meaning(
            "",
            "How components were recognised: by `ranges` of `capture --detail components`, by the "
            "order of `cpu_ops` in a full profile, or `cannot tell:` and why.",
        ),
    ]


COMPONENTS = Table(
    "components",
    ("sample_id", "repeat", "rank", "stage", "component", "layer"),
    (*RUN_KEY, *columns_of(ComponentTime)),
)


class Limit(Row, frozen=True, kw_only=True):
    """How far a stage is from the device's limit."""

    stage: Annotated[Stage, STAGE_OF_PART]
    weight_bytes: Annotated[int, Meaning("bytes", "Weights that its forwards must read.")]
    kv_bytes: Annotated[int, Meaning("bytes", "KV cache that they must read or write.")]
    flops: Annotated[int, Meaning("count", "Multiplications and additions of its products.")]
    floor_ns: Annotated[int, Meaning("ns", "Least time for these at the device's measured rates.")]
    bound_by: Annotated[
        Literal["memory", "compute"],
        Meaning(
            "",
            "What takes the longer least time, `memory` or `compute`.",
        ),
    ]
    busy_ns: Annotated[int, Meaning("ns", "Busy time of the stage.")]
    window_ns: Annotated[int, Meaning("ns", "Its window.")]
    floor_frac: Annotated[float | None, Meaning("fraction", "Floor ÷ busy.")]
    holds: Annotated[bool, Meaning("", "Floor ≤ busy ≤ window; if not, an assumption is wrong.")]


LIMITS = Table("limits", ("sample_id", "repeat", "rank", "stage"), (*RUN_KEY, *columns_of(Limit)))


class Span(Row, frozen=True, kw_only=True):
    """A stage from its first instant to its last."""

    stage: Annotated[Stage, STAGE]
    begin_unix_ns: Annotated[int, Meaning("ns", "Its first instant, since 1970.")]
    end_unix_ns: Annotated[int, Meaning("ns", "Its last. Ranks of one host share this clock.")]


SPANS = Table("spans", ("sample_id", "repeat", "rank", "stage"), (*RUN_KEY, *columns_of(Span)))


RANKS = Table(
    "ranks",
    ("sample_id", "repeat", "stage"),
    (
        *RUN_KEY[:2],
        STAGE,
        Column("ranks", "int64", "count", "Ranks that ran the stage of this run."),
        Column("slowest_rank", "int64", "", "The rank busy longest outside exposed collectives."),
        Column("own_ns", "int64", "ns", "Its busy time outside exposed collectives."),
        Column("spread_ns", "int64", "ns", "Its own_ns less that of the fastest rank."),
        Column(
            "awaited_rank",
            "int64",
            "",
            "The rank that waits least in exposed collectives: others wait for it.",
            nullable=True,
        ),
        Column(
            "wait_spread_ns",
            "int64",
            "ns",
            "How much longer the rank that waits most is in them. Null without collectives.",
            nullable=True,
        ),
        Column(
            "begins_apart_ns",
            "int64",
            "ns",
            "From the first rank's begin to the last one's. Null where ranks did not run at one "
            "time.",
            nullable=True,
        ),
        Column(
            "ends_apart_ns",
            "int64",
            "ns",
            "From the first rank's end to the last one's.",
            nullable=True,
        ),
        Column("last_rank", "int64", "", "The rank that ends last.", nullable=True),
    ),
)


class BesideHta(Row, frozen=True, kw_only=True):
    """One figure of one stage, by both programs."""

    stage: Annotated[Stage, STAGE]
    measure: Annotated[
        str,
        Meaning(
            "",
            "idle_ns, busy_ns, kernel_sum_ns, launches, launch_latency_p50_ns or max_queue.",
        ),
    ]
    item: Annotated[str | None, Meaning("", "The kernel, kind or cause, if the figure is of one.")]
    ours: Annotated[float | None, Meaning("", "Our figure, in the measure's unit.")]
    hta: Annotated[float | None, Meaning("", "HolisticTraceAnalysis's.")]


HTA = Table(
    "hta",
    ("sample_id", "repeat", "rank", "stage", "measure", "item"),
    (*RUN_KEY, *columns_of(BesideHta)),
)
