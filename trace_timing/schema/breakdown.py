"""What a run's time is made of, a table each: kinds of work, idle causes, queue, graphs, parts."""

from __future__ import annotations

from trace_timing.schema.common import RUN_KEY, STAGE, STAGE_OF_PART
from trace_timing.schema.table import Column, Table

#: Why a run took its time: timeline.{kinds,idle,queue,sync_loops,communication,graphs}, verdicts.
KINDS = Table(
    "kinds",
    ("sample_id", "repeat", "rank", "stage", "op_kind"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column("op_kind", "string", "", "Kind of work, told by the op's name."),
        Column("gpu_ops", "int64", "count", "Ops of that kind."),
        Column("kernel_sum_ns", "int64", "ns", "Sum of their durations; kinds sum to the stage."),
        Column(
            "busy_ns",
            "int64",
            "ns",
            "Busy time of the stage in which such an op was the one launched first; kinds sum to "
            "the stage.",
        ),
    ),
)

IDLE = Table(
    "idle",
    ("sample_id", "repeat", "rank", "stage", "cause", "call"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column(
            "cause",
            "string",
            "",
            "Launched and not started: onto an idle device `launch_latency`, onto a busy one "
            "`device_gap`. With an empty queue, what the generating thread does: a `sync`, "
            "`alloc`, `copy`, `launch`, `api` call, or none "
            "(`host`). `tail`: after the run's last op.",
        ),
        Column("call", "string", "", "The API call, where the cause is one.", nullable=True),
        Column("count", "int64", "count", "Calls begun in the stage; else idle intervals."),
        Column("call_ns", "int64", "ns", "Host time inside those calls.", nullable=True),
        Column("idle_ns", "int64", "ns", "Idle time of this cause; causes sum to the stage."),
    ),
)

QUEUE = Table(
    "queue",
    ("sample_id", "repeat", "rank", "stage"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column("gpu_ops", "int64", "count", "Ops of the stage."),
        Column("mean_depth", "float64", "count", "Ops launched, not started; mean over time."),
        Column("max_depth", "int64", "count", "Most ops launched and not started."),
        Column("launches", "int64", "count", "Calls that launched them; a graph counts once."),
        Column("starved_launches", "int64", "count", "Those made when no op was left to run."),
        Column(
            "launch_bound_ns",
            "int64",
            "ns",
            "Idle time until an op of such a launch started: with `device_gap` and `tail` of the "
            "table `idle` it sums to the stage's idle time.",
        ),
        Column(
            "launch_bound_frac", "float64", "fraction", "Its share of the window.", nullable=True
        ),
        Column(
            "latency_p50_ns",
            "float64",
            "ns",
            "Launch begins → op starts, of starved launches, median.",
            nullable=True,
        ),
        Column("latency_p95_ns", "float64", "ns", "Its 95th percentile.", nullable=True),
    ),
)

QUEUE_DEPTH = Table(
    "queue_depth",
    ("sample_id", "repeat", "rank", "bin"),
    (
        *RUN_KEY,
        Column("bin", "int64", "", "Number of the part: 200 equal ones make the window."),
        Column("start_ns", "int64", "ns", "Where it begins, since the window's begin."),
        Column("mean_depth", "float64", "count", "Ops launched, not started; mean over the part."),
        Column("max_depth", "int64", "count", "Most at once in it."),
    ),
)

SYNC_LOOPS = Table(
    "sync_loops",
    ("sample_id", "repeat", "rank", "stage"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column("syncs", "int64", "count", "Synchronizing calls of the generating thread."),
        Column("call", "string", "", "The most frequent of them."),
        Column("call_count", "int64", "count", "How often it comes in the stage."),
        Column("run_call_count", "int64", "count", "How often it comes in the run."),
        Column("forwards", "int64", "count", "Forwards in the stage: steps, else 1."),
        Column("ops_between_median", "float64", "count", "Ops launched between two syncs."),
        Column("after_compaction", "int64", "count", "Syncs with a nonzero launched just before."),
        Column("after_gemm", "int64", "count", "Syncs with a matrix product launched before."),
        Column("after_copy_to_host", "int64", "count", "Syncs with a copy to the host before."),
        Column(
            "drained_ns",
            "int64",
            "ns",
            "Idle time in gaps in which such a call returned: the most that could be won.",
        ),
    ),
)

COMMUNICATION = Table(
    "communication",
    ("sample_id", "repeat", "rank", "stage", "device"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column("device", "int64", "", "Device index in the trace."),
        Column("nccl_ops", "int64", "count", "Collectives and transfers."),
        Column("hidden_ns", "int64", "ns", "Time in them while another op of the device runs."),
        Column("exposed_ns", "int64", "ns", "Time in them alone."),
    ),
)

GRAPHS = Table(
    "graphs",
    ("sample_id", "repeat", "rank", "stage"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column("graph_launches", "int64", "count", "Replays of a CUDA or HIP graph."),
        Column("graph_ops", "int64", "count", "Ops that they ran."),
        Column("kernel_sum_ns", "int64", "ns", "Sum of their durations."),
        Column("nodes", "int64", "count", "Distinct nodes by id, where recorded.", nullable=True),
    ),
)

GRAPH_NODES = Table(
    "graph_nodes",
    # With the op's name, so that a mean over runs that number their graphs otherwise mixes no ops.
    ("sample_id", "repeat", "rank", "stage", "told_by", "graph", "node", "name"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column(
            "told_by",
            "string",
            "",
            "`ids` that the trace has, else `order`: replays of the same ops in the same order are "
            "one graph.",
        ),
        Column(
            "graph",
            "int64",
            "",
            "Id of the graph, empty where only nodes have ids; told by order, its number in the "
            "run by first launch, from 0.",
            nullable=True,
        ),
        Column(
            "node",
            "int64",
            "",
            "Id of the node, unique in its graph; told by order, its place in the replay, from 0.",
        ),
        Column("name", "string", "", "Op that it runs; of the first replay."),
        Column("count", "int64", "count", "Replays of it."),
        Column("total_ns", "int64", "ns", "Sum of their durations; nodes sum to `graphs`."),
    ),
)

VERDICTS = Table(
    "verdicts",
    ("sample_id", "repeat", "rank", "stage", "code"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column("code", "string", "", "What bounds the stage: host_bound, expert_sync_loop …"),
        Column("sentence", "string", "", "The verdict in a sentence."),
        Column("evidence", "string", "", "The figures it rests on."),
        Column("remedy", "string", "", "What would shorten the stage."),
    ),
)

COMPONENTS = Table(
    "components",
    ("sample_id", "repeat", "rank", "stage", "component", "layer"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column(
            "component", "string", "", "attention, mlp, router, experts, norm, head, or `rest`."
        ),
        Column("layer", "int64", "", "Number of the layer it lies in.", nullable=True),
        Column("gpu_ops", "int64", "count", "Ops that it launched."),
        Column("kernel_sum_ns", "int64", "ns", "Sum of their durations; parts sum to the stage."),
        Column("busy_ns", "int64", "ns", "Busy time that is theirs; parts sum to the stage."),
        Column(
            "source",
            "string",
            "",
            "What tells the part: `ranges` of `capture --detail components`, else `cpu_ops`, their "
            "order in a full profile, or `cannot tell:` and why.",
        ),
    ),
)

LIMITS = Table(
    "limits",
    ("sample_id", "repeat", "rank", "stage"),
    (
        *RUN_KEY,
        STAGE_OF_PART,
        Column("weight_bytes", "int64", "bytes", "Weights that its forwards must read."),
        Column("kv_bytes", "int64", "bytes", "KV cache that they must read or write."),
        Column("flops", "int64", "count", "Multiplications and additions of its products."),
        Column("floor_ns", "int64", "ns", "Least time for these at the device's measured rates."),
        Column("bound_by", "string", "", "`memory` or `compute`, the longer of the two."),
        Column("busy_ns", "int64", "ns", "Busy time of the stage."),
        Column("window_ns", "int64", "ns", "Its window."),
        Column("floor_frac", "float64", "fraction", "Floor ÷ busy.", nullable=True),
        Column("holds", "bool", "", "Floor ≤ busy ≤ window; else an assumption is wrong."),
    ),
)

SPANS = Table(
    "spans",
    ("sample_id", "repeat", "rank", "stage"),
    (
        *RUN_KEY,
        STAGE,
        Column("begin_unix_ns", "int64", "ns", "Its first instant, since 1970."),
        Column("end_unix_ns", "int64", "ns", "Its last. Ranks of one host share this clock."),
    ),
)

RANKS = Table(
    "ranks",
    ("sample_id", "repeat", "stage"),
    (
        *RUN_KEY[:2],
        STAGE,
        Column("ranks", "int64", "count", "Ranks that ran the stage of this run."),
        Column("slowest_rank", "int64", "", "The one that works longest outside collectives."),
        Column("own_ns", "int64", "ns", "Its busy time outside exposed collectives."),
        Column("spread_ns", "int64", "ns", "That less the same of the fastest rank."),
        Column(
            "awaited_rank",
            "int64",
            "",
            "The one that waits least in exposed collectives: others wait for it.",
            nullable=True,
        ),
        Column(
            "wait_spread_ns",
            "int64",
            "ns",
            "How much longer the one that waits most is in them. Empty without collectives.",
            nullable=True,
        ),
        Column(
            "begins_apart_ns",
            "int64",
            "ns",
            "First rank begins → last one begins. Empty where ranks did not run at one time.",
            nullable=True,
        ),
        Column("ends_apart_ns", "int64", "ns", "First rank ends → last one ends.", nullable=True),
        Column("last_rank", "int64", "", "The one that ends last.", nullable=True),
    ),
)

HTA = Table(
    "hta",
    ("sample_id", "repeat", "rank", "stage", "measure", "item"),
    (
        *RUN_KEY,
        STAGE,
        Column(
            "measure",
            "string",
            "",
            "idle_ns, busy_ns, kernel_sum_ns, launches, launch_latency_p50_ns or max_queue.",
        ),
        Column("item", "string", "", "Kernel, kind or cause that it is of.", nullable=True),
        Column("ours", "float64", "", "Our figure, in the measure's unit.", nullable=True),
        Column("hta", "float64", "", "HolisticTraceAnalysis's.", nullable=True),
    ),
)
