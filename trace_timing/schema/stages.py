"""Stages, devices, steps and kernels: the tables that tiling fills."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from trace_timing.schema.common import CLOCK, RUN_KEY, STAGE, STAGE_OF_PART
from trace_timing.schema.table import Column, Meaning, Row, Table, columns_of
from trace_timing.stages import Stage

_DEVICE_FIGURES = (
    Column(
        "window_ns",
        "int64",
        "ns",
        "Time that tiling gives the stage, under the profiler.",
        nullable=True,
    ),
    Column(
        "busy_ns", "int64", "ns", "Of the window, the instants in which an op runs.", nullable=True
    ),
    Column("idle_ns", "int64", "ns", "Window less busy.", nullable=True),
    Column("queued_ns", "int64", "ns", "Of idle_ns, the time with work queued.", nullable=True),
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
    "Whether all of it was recorded. If not, busy_ns, idle_ns and queued_ns are null, window_ns "
    "covers all of it, and the other figures are sums over what was recorded, guard steps "
    "included.",
)


class StageSteps(Row, frozen=True, kw_only=True):
    """How much of a stage was recorded, its figures a recorded step, estimates for all steps."""

    recorded: Annotated[bool, _RECORDED]
    steps: Annotated[int | None, Meaning("count", "Steps, of decode and sampling.")] = None
    recorded_steps: Annotated[
        int | None,
        Meaning(
            "count",
            "Steps that were recorded and are counted: not the guard step after a gap in the "
            "recording.",
        ),
    ] = None
    busy_per_step_ns: Annotated[
        float | None, Meaning("ns", "Mean busy time of the recorded steps.")
    ] = None
    kernel_sum_per_step_ns: Annotated[
        float | None, Meaning("ns", "Mean over recorded steps of the sum of their ops' durations.")
    ] = None
    gpu_ops_per_step: Annotated[
        float | None, Meaning("count", "Mean number of ops of the recorded steps.")
    ] = None
    busy_estimate_ns: Annotated[
        float | None,
        Meaning(
            "ns",
            "Estimate of busy_ns where that is null because not all was recorded, by linear "
            "interpolation between recorded steps.",
        ),
    ] = None
    gpu_ops_estimate: Annotated[
        float | None,
        Meaning("count", "Likewise for gpu_ops, which then counts only recorded ops."),
    ] = None


STAGES = Table(
    "stages",
    ("sample_id", "repeat", "rank", "stage"),
    (
        *RUN_KEY,
        STAGE,
        *_DEVICE_FIGURES,
        *_HOST_FIGURES,
        *columns_of(StageSteps),
        Column("reason", "string", "", "Why ops are unattributed, comma-separated.", nullable=True),
        CLOCK,
    ),
)

DEVICE_STAGES = Table(
    "device_stages",
    ("sample_id", "repeat", "rank", "device", "stage"),
    (
        *RUN_KEY,
        Column("device", "int64", "", "Device index in the trace."),
        STAGE,
        *_DEVICE_FIGURES,
        _RECORDED,
        CLOCK,
    ),
)


def _in_name(definition: str) -> Meaning:
    return Meaning("count", f"{definition} As the range's name says.")


class BatchSize(Row, frozen=True, kw_only=True):
    """The batch of a server's forward, as the name of its range gives it; None: not in the name.

    A context request is one whose prompt is being read, a generation request one that is given
    tokens. Tokens are those that the forward reads, not those that it gives.
    """

    batch_size: Annotated[
        int | None, _in_name("Requests in a server's forward, or their sum over both kinds.")
    ] = None
    context_requests: Annotated[int | None, _in_name("Of them, those whose prompt is read.")] = None
    context_tokens: Annotated[int | None, _in_name("Tokens of prompts that it reads.")] = None
    generation_requests: Annotated[
        int | None, _in_name("Of them, those that are given tokens.")
    ] = None
    generation_tokens: Annotated[
        int | None,
        _in_name("Tokens that it reads for these: one each, more with speculative decoding."),
    ] = None


STEPS = Table(
    "steps",
    ("sample_id", "repeat", "rank", "stage", "step"),
    (
        *RUN_KEY,
        STAGE,
        Column(
            "step",
            "int64",
            "",
            "Decode step 1 … N−1 of N output tokens. In a server's trace every forward is a step: "
            "0, 1, … of its stage, by begin.",
        ),
        Column("latency_ns", "int64", "ns", "Its time by the sample's controls.", nullable=True),
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
        *columns_of(BatchSize),
        Column(
            "recorded",
            "bool",
            "",
            "Whether its figures are known. If not, all but window_ns and host_ns are null, and "
            "window_ns is the host's time, less that of earlier ops that still ran.",
        ),
        Column(
            "unrecorded_reason",
            "string",
            "",
            "Why not: `recording_off`; `recording_guard`, the step after a gap in the recording, "
            "in which work launched before still runs; `recording_switch`, an op or launch of it "
            "was lost next to a gap; `no_recorded_run`, the sample has only controls.",
            nullable=True,
        ),
        *(replace(column, nullable=True) for column in (*_DEVICE_FIGURES, *_HOST_FIGURES)),
        Column(
            "interval_ns",
            "int64",
            "ns",
            "From its begin to that of the next forward of any kind, on the host; the last one to "
            "the end of generate().",
            nullable=True,
        ),
        CLOCK,
    ),
)

OpWord = Literal["kernel", "memcpy", "memset"]


class KernelTime(Row, frozen=True, kw_only=True):
    """All ops of one name in one stage."""

    stage: Annotated[Stage, STAGE_OF_PART]
    name: Annotated[str, Meaning("", "Name of the op as the trace gives it.")]
    op: Annotated[OpWord, Meaning("", "`kernel`, `memcpy` or `memset`.")]
    count: Annotated[int, Meaning("count", "Ops of that name in the stage.")]
    total_ns: Annotated[int, Meaning("ns", "Sum of their durations.")]
    mean_ns: Annotated[float, Meaning("ns", "Mean duration.")]
    max_ns: Annotated[int, Meaning("ns", "Longest.")]


KERNELS = Table(
    "kernels",
    ("sample_id", "repeat", "rank", "stage", "name"),
    (*RUN_KEY, *columns_of(KernelTime)),
)
