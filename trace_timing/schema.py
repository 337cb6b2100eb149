"""The schemas of every table that is written: column, type, unit, definition. The one source.

`check` runs on writing; the column reference in the docs is generated from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trace_timing.table import Column, SchemaError, Table, check

__all__ = [
    "COMMUNICATION",
    "COMPONENTS",
    "DEVICE_STAGES",
    "ESTIMATED_TIMES",
    "GRAPHS",
    "GRAPH_NODES",
    "IDENTITY",
    "IDLE",
    "KERNELS",
    "KINDS",
    "LIMITS",
    "QUEUE",
    "RUNS",
    "SAMPLES",
    "SAMPLE_PARTS",
    "SAMPLE_TIMES",
    "STAGES",
    "STEPS",
    "SYNC_LOOPS",
    "TABLES",
    "VERDICTS",
    "Column",
    "SchemaError",
    "Table",
    "check",
]

_RUN_KEY = (
    Column("sample_id", "string", "", "One input: image(s) and prompt."),
    Column(
        "repeat",
        "int64",
        "",
        "0, 1, … of one sample; null on the row of ops that lie in no run of a trace with several.",
        nullable=True,
    ),
    Column("rank", "int64", "", "Process of a distributed run; 0 otherwise."),
)
_CLOCK = Column(
    "clock", "string", "", "`device`: from the GPU timeline; `host`: from host ranges alone."
)
_STAGE = Column("stage", "string", "", "Stage; rows are exclusive, so they tile the window.")
_STAGE_OF_PART = Column(
    "stage",
    "string",
    "",
    "Stage; where the table `stages` says that not all of it was recorded, its recorded steps.",
)

_DEVICE_FIGURES = (
    Column(
        "window_ns",
        "int64",
        "ns",
        "Instants that tiling gives the stage while it is recorded.",
        nullable=True,
    ),
    Column(
        "busy_ns", "int64", "ns", "Of the window, the instants in which an op runs.", nullable=True
    ),
    Column("idle_ns", "int64", "ns", "Window less busy.", nullable=True),
    Column("queued_ns", "int64", "ns", "Of idle, the part with work queued.", nullable=True),
    Column("kernel_sum_ns", "int64", "ns", "Sum of the ops' durations.", nullable=True),
    Column("span_ns", "int64", "ns", "First op's start to last op's end.", nullable=True),
    Column("gpu_ops", "int64", "count", "Kernels, memcpys and memsets."),
    Column("launches", "int64", "count", "API calls that launched them; a graph launch is one."),
)
_HOST_FIGURES = (
    Column("syncs", "int64", "count", "Synchronizing API calls."),
    Column("sync_wait_ns", "int64", "ns", "Host time inside synchronizing calls."),
    Column("allocs", "int64", "count", "cudaMalloc, cudaFree and kin."),
    Column("alloc_ns", "int64", "ns", "Host time inside allocator calls."),
    Column("host_ns", "int64", "ns", "Host time inside the range, children excluded."),
)
_RECORDED = Column(
    "recorded",
    "bool",
    "",
    "Whether all of it was recorded. If not, busy_ns, idle_ns and queued_ns are null, window_ns is "
    "whole, and the other figures are sums over what was recorded, guard steps included.",
)
STAGES = Table(
    "stages",
    ("sample_id", "repeat", "rank", "stage"),
    (
        *_RUN_KEY,
        _STAGE,
        *_DEVICE_FIGURES,
        *_HOST_FIGURES,
        _RECORDED,
        Column("steps", "int64", "count", "Of decode and sampling: steps.", nullable=True),
        Column(
            "recorded_steps",
            "int64",
            "count",
            "Of these, the ones that were recorded and are counted: not the guard step after a "
            "gap in the recording.",
            nullable=True,
        ),
        Column(
            "busy_per_step_ns",
            "float64",
            "ns",
            "Busy time of a recorded step: their mean.",
            nullable=True,
        ),
        Column(
            "kernel_sum_per_step_ns",
            "float64",
            "ns",
            "Sum of the durations of a recorded step's ops: their mean.",
            nullable=True,
        ),
        Column(
            "gpu_ops_per_step",
            "float64",
            "count",
            "Ops of a recorded step: their mean.",
            nullable=True,
        ),
        Column(
            "busy_estimate_ns",
            "float64",
            "ns",
            "Where busy_ns is null since not all was recorded: its estimate over all steps, those "
            "between recorded ones on the line between them.",
            nullable=True,
        ),
        Column(
            "gpu_ops_estimate",
            "float64",
            "count",
            "Likewise, of gpu_ops, which then counts recorded ops alone.",
            nullable=True,
        ),
        Column("reason", "string", "", "Why ops are unattributed, comma-separated.", nullable=True),
        _CLOCK,
    ),
)

DEVICE_STAGES = Table(
    "device_stages",
    ("sample_id", "repeat", "rank", "device", "stage"),
    (
        *_RUN_KEY,
        Column("device", "int64", "", "Device index in the trace."),
        _STAGE,
        *_DEVICE_FIGURES,
        _RECORDED,
        _CLOCK,
    ),
)

_BATCH = tuple(
    Column(name, "int64", "count", f"{definition} As the range's name says.", nullable=True)
    for name, definition in (
        ("batch_size", "Requests in a server's forward, or their sum over both kinds."),
        ("context_requests", "Of them, those whose prompt is read."),
        ("context_tokens", "Tokens of prompts that it reads."),
        ("generation_requests", "Of them, those that are given tokens."),
        (
            "generation_tokens",
            "Tokens that it reads for these: one each, more with speculative decoding.",
        ),
    )
)

STEPS = Table(
    "steps",
    ("sample_id", "repeat", "rank", "stage", "step"),
    (
        *_RUN_KEY,
        _STAGE,
        Column(
            "step",
            "int64",
            "",
            "Decode step 1 … N−1 of N output tokens. In a server's trace every forward is a step: "
            "0, 1, … of its stage, by begin.",
        ),
        Column("latency_ns", "int64", "ns", "The step by the sample's controls.", nullable=True),
        Column("latency_lo_ns", "int64", "ns", "Lower end of its 95 % interval.", nullable=True),
        Column("latency_hi_ns", "int64", "ns", "Upper end of its 95 % interval.", nullable=True),
        Column("usable", "bool", "", "latency_ns may be used as a label."),
        Column(
            "kv_length",
            "int64",
            "count",
            "Positions that its attention reads: the prompt, and the tokens so far.",
            nullable=True,
        ),
        *_BATCH,
        Column(
            "recorded",
            "bool",
            "",
            "Whether its figures are known. If not, all but window_ns and host_ns are null, and "
            "window_ns is as long as the host took where no earlier op ran into it.",
        ),
        Column(
            "unrecorded_reason",
            "string",
            "",
            "Why not: `recording_off`; `recording_guard`, the step after a gap in the recording, "
            "in which what was launched before still runs; `recording_switch`, an op or launch of "
            "it is lost next to a gap; `no_recorded_run`, the sample has controls alone.",
            nullable=True,
        ),
        *(replace(column, nullable=True) for column in (*_DEVICE_FIGURES, *_HOST_FIGURES)),
        Column(
            "interval_ns",
            "int64",
            "ns",
            "Forward begins → next forward of any kind begins on the host; the last ends with "
            "generate().",
            nullable=True,
        ),
        _CLOCK,
    ),
)

KERNELS = Table(
    "kernels",
    ("sample_id", "repeat", "rank", "stage", "name"),
    (
        *_RUN_KEY,
        _STAGE_OF_PART,
        Column("name", "string", "", "Name of the op as the trace gives it."),
        Column("op", "string", "", "`kernel`, `memcpy` or `memset`."),
        Column("count", "int64", "count", "Ops of that name in the stage."),
        Column("total_ns", "int64", "ns", "Sum of their durations."),
        Column("mean_ns", "float64", "ns", "Mean duration."),
        Column("max_ns", "int64", "ns", "Longest."),
    ),
)

#: Time of the sample table → its definition. Each stands as …_ms with its interval (…_lo_ms,
#: …_hi_ms), as …_busy_ms and as …_recorded_ms.
SAMPLE_TIMES: dict[str, str] = {
    "T_vision_encoder": "Vision encoder.",
    "T_projector": "Projector.",
    "T_vision_total": "All three vision stages.",
    "T_LLM_prefill": "First forward of the language model, exclusive of vision.",
    "T_LLM_decode": "Sum of the decode steps.",
    "T_sampling": "Sum of what follows each forward until the next.",
    "T_rest": "Every other stage.",
    "T_total": "The whole generate().",
    "T_decode_per_token": "Decode ÷ steps; null where there is no step.",
    "T_TTFT": "generate() begins → sampling[0] ends.",
}
#: These partition T_total, by construction.
SAMPLE_PARTS = ("T_vision_total", "T_LLM_prefill", "T_LLM_decode", "T_sampling", "T_rest")
#: Of these, the busy times that are not known where not every step was recorded: estimates stand
#: in their place, as …_busy_estimate_ms.
ESTIMATED_TIMES = ("T_LLM_decode", "T_sampling", "T_rest", "T_total")
#: What a sample's figures were measured on.
IDENTITY = (
    "model",
    "revision",
    "dtype",
    "attention",
    "device",
    "torch",
    "transformers",
    "cuda",
    "driver",
)


def _times(kind: str, said: str) -> Iterable[Column]:
    for name, definition in SAMPLE_TIMES.items():
        text = said.format(name=f"{name}_ms", definition=definition)
        yield Column(f"{name}{kind}_ms", "float64", "ms", text, nullable=True)


_PART = (
    Column(
        "recorded_steps",
        "int64",
        "count",
        "Decode steps that were recorded and are counted. If fewer than decode_steps: "
        "T_decode_per_token_busy_ms and _recorded_ms are the mean of these, sums over decode, "
        "sampling, rest and total are null, and busy times have estimates.",
        nullable=True,
    ),
    *(
        Column(
            f"{name}_busy_estimate_ms",
            "float64",
            "ms",
            f"Estimate of {name}_busy_ms where that is null since not all was recorded: steps "
            "between recorded ones on the line between them.",
            nullable=True,
        )
        for name in ESTIMATED_TIMES
    ),
    Column(
        "gpu_ops",
        "int64",
        "count",
        "All ops of the recorded run; null where not all was recorded.",
        nullable=True,
    ),
    Column("gpu_ops_estimate", "float64", "count", "Its estimate then.", nullable=True),
)
_TOKENS = (
    Column("decode_steps", "int64", "count", "Forwards after prefill.", nullable=True),
    Column(
        "input_tokens", "int64", "count", "Positions of the prompt, where recorded.", nullable=True
    ),
    Column(
        "output_tokens",
        "int64",
        "count",
        "New positions of the longest row, where recorded.",
        nullable=True,
    ),
)

SAMPLES = Table(
    "samples",
    ("sample_id", "rank"),
    (
        _RUN_KEY[0],
        _RUN_KEY[2],
        *_times("", "{definition}"),
        *_times("_lo", "Lower end of the 95 % interval of {name}."),
        *_times("_hi", "Upper end of the 95 % interval of {name}."),
        Column(
            "latency_source",
            "string",
            "",
            "Where T_*_ms come from: `control` (runs without a profiler), `scaled` (recorded "
            "windows × control ÷ recorded of other samples), `attached` (runs that the profiler "
            "slowed: an upper bound), `recorded` (the profiled run itself).",
        ),
        Column(
            "interval_from",
            "string",
            "",
            "What the intervals were made from: the sample's own `controls`, the `pooled` spread "
            "of the capture's (below three controls), `leave one out` (scaled), `busy to "
            "recorded` (no interval: the truth lies between).",
            nullable=True,
        ),
        Column("controls", "int64", "count", "Controls that the latency was made from."),
        Column(
            "half_width_frac",
            "float64",
            "fraction",
            "Half the width of T_total's interval ÷ T_total_ms.",
            nullable=True,
        ),
        Column(
            "T_step_undisturbed_ms",
            "float64",
            "ms",
            "Tenth percentile of the controls' steps (decode and sampling): a step where nothing "
            "disturbs the host.",
            nullable=True,
        ),
        *_times("_busy", "GPU work within {name}, from the recorded run."),
        *_times("_recorded", "{name} of the recorded run, as long as recording made it."),
        Column("recorded_runs", "int64", "count", "Recorded runs of the sample; 0: none."),
        *_TOKENS,
        Column("output_tokens_total", "int64", "count", "Their sum over rows.", nullable=True),
        *_PART,
        Column(
            "usable",
            "bool",
            "",
            "T_*_ms may be used as labels: measured, and the total to within ± 50 % at 95 %.",
        ),
        Column("usable_decode", "bool", "", "So may those of decode: there is a step."),
        Column("reasons", "string", "", "What speaks against it, comma-separated."),
        Column(_CLOCK.name, "string", "", _CLOCK.definition, nullable=True),
        *(
            Column(name, "string", "", f"{name.capitalize()} that it ran with.", nullable=True)
            for name in IDENTITY
        ),
    ),
    open=True,
)

RUNS = Table(
    "runs",
    ("sample_id", "repeat", "rank", "role", "index"),
    (
        *_RUN_KEY,
        Column("role", "string", "", "`recorded`: under the profiler; `control`: without."),
        Column("index", "int64", "", "Number of the control; null if recorded.", nullable=True),
        *_times("", "{definition} Of this run alone."),
        *_times("_busy", "GPU work within {name}; null for a control."),
        *_TOKENS,
        *_PART,
        Column(
            "cupti",
            "string",
            "",
            "Of a control: the profiler had `never` been used in the process, was `detached`, or "
            "still `attached`.",
            nullable=True,
        ),
        Column("bare", "bool", "", "A control without hooks: its total alone.", nullable=True),
        Column(
            "counted",
            "bool",
            "",
            "Whether the sample's latency is a mean over this control; false for one far out.",
            nullable=True,
        ),
        Column("ordinal", "int64", "", "Order of the run within its process.", nullable=True),
        Column("started_unix_ns", "int64", "ns", "When it began, since 1970.", nullable=True),
        Column(
            "probe_ns",
            "float64",
            "ns",
            "Host time of an empty launch just before the run.",
            nullable=True,
        ),
        Column("load_1m", "float64", "", "Load average of the machine before it.", nullable=True),
        Column(
            "psi_cpu_some_10s",
            "float64",
            "",
            "Per cent of the last 10 s in which some process waited for a CPU.",
            nullable=True,
        ),
        Column("steal_ticks", "int64", "count", "CPU time stolen so far.", nullable=True),
        Column("laws_hold", "bool", "", "All checks hold on this run.", nullable=True),
        Column("doubts", "string", "", "Codes of the warnings, comma-separated.", nullable=True),
        _CLOCK,
        Column("trace", "string", "", "File it was read from.", nullable=True),
    ),
)

#: Why a run took its time: timeline.{kinds,idle,queue,sync_loops,communication,graphs}, verdicts.
KINDS = Table(
    "kinds",
    ("sample_id", "repeat", "rank", "stage", "op_kind"),
    (
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
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
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
        _STAGE_OF_PART,
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
        *_RUN_KEY,
        _STAGE,
        Column("begin_unix_ns", "int64", "ns", "Its first instant, since 1970."),
        Column("end_unix_ns", "int64", "ns", "Its last. Ranks of one host share this clock."),
    ),
)
RANKS = Table(
    "ranks",
    ("sample_id", "repeat", "stage"),
    (
        *_RUN_KEY[:2],
        _STAGE,
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
        *_RUN_KEY,
        _STAGE,
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

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        SAMPLES,
        RUNS,
        STAGES,
        DEVICE_STAGES,
        STEPS,
        KERNELS,
        KINDS,
        IDLE,
        QUEUE,
        QUEUE_DEPTH,
        SYNC_LOOPS,
        COMMUNICATION,
        GRAPHS,
        GRAPH_NODES,
        COMPONENTS,
        VERDICTS,
        LIMITS,
        SPANS,
        RANKS,
        HTA,
    )
}
