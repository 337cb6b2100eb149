"""Made-up tables that follow the schema: for tests of size and drawing, not of figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from trace_timing.report.model import ReportData, SampleDetail
from trace_timing.schema import SAMPLE_TIMES, TABLES, Table
from trace_timing.stages import Stage
from trace_timing.timeline.build.model import StageKey, State
from trace_timing.timeline.rows.tables import RunKey

STAGES: tuple[Stage, ...] = (
    "vision_encoder",
    "projector",
    "prefill",
    "decode",
    "sampling",
    "other",
)
MEAN_NS = {"vision_encoder": 9e6, "projector": 6e5, "prefill": 18e6, "sampling": 2e6, "other": 8e6}
STEP_NS = 12.2e6
#: Recorded ÷ control.
STRETCHED = 1.25


def report_data(*, runs: int = 3, steps: int = 6, details: int = 1, seed: int = 7) -> ReportData:
    """A report's data for `runs` runs of `steps` decode steps each."""
    draw = np.random.default_rng(seed)
    decode = _steps(draw, runs, steps)
    stages = _stages(draw, decode, runs)
    recorded = _runs(stages, runs, steps)
    kernels = _kernels(draw, runs)
    return ReportData(
        samples=_samples(recorded),
        runs=recorded,
        stages=stages,
        device_stages=_typed(stages.assign(device=0), TABLES["device_stages"]),
        steps=decode,
        kernels=kernels,
        summary={
            "tool_version": "0.1.0",
            "environment": {"devices": ["NVIDIA H200"], "torch": "2.13.0"},
            "warnings": [],
            "commands": ["trace-timing analyze traces/ -o report/"],
        },
        details={
            key: detail(key) for key in (RunKey(sample_name(i), 0, 0) for i in range(details))
        },
    )


def sample_name(i: int) -> str:
    """The id of the i-th sample."""
    return f"sample-{i:04d}"


def _typed(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    kinds = {"int64": "Int64", "float64": "float64", "bool": "bool", "string": "object"}
    out = {}
    for column in table:
        values = frame[column.name] if column.name in frame else _default(column.type)
        out[column.name] = pd.Series(values, index=frame.index).astype(kinds[column.type])
    return pd.DataFrame(out)


def _default(kind: str) -> Any:
    return {"int64": pd.NA, "float64": np.nan, "bool": True, "string": None}[kind]


def _times(draw: np.random.Generator, window: np.ndarray[Any, Any]) -> dict[str, Any]:
    window = window.astype(np.int64)
    busy = (window * draw.uniform(0.12, 0.2, len(window))).astype(np.int64)
    return {
        "window_ns": window,
        "busy_ns": busy,
        "idle_ns": window - busy,
        "queued_ns": (window - busy) // 3,
        "kernel_sum_ns": busy,
        "span_ns": window,
        "gpu_ops": 696,
        "launches": 696,
        "syncs": 1,
        "sync_wait_ns": 4_000,
        "allocs": 0,
        "alloc_ns": 0,
        "host_ns": window,
        "clock": "device",
    }


def _steps(draw: np.random.Generator, runs: int, steps: int) -> pd.DataFrame:
    run = np.repeat(np.arange(runs), steps)
    window = STEP_NS * draw.lognormal(0, 0.15, runs * steps)
    frame = pd.DataFrame(_times(draw, window)).assign(
        sample_id=[sample_name(i) for i in run],
        repeat=0,
        rank=0,
        stage="decode",
        step=np.tile(np.arange(1, steps + 1), runs),
        interval_ns=window.astype(np.int64),
        latency_ns=(window / STRETCHED).astype(np.int64),
    )
    return _typed(frame, TABLES["steps"])


def _stages(draw: np.random.Generator, decode: pd.DataFrame, runs: int) -> pd.DataFrame:
    parts = []
    for stage in STAGES:
        if stage == "decode":
            window = decode.groupby("sample_id", sort=False)["window_ns"].sum().to_numpy(float)
        else:
            window = MEAN_NS[stage] * draw.lognormal(0, 0.2, runs)
        ids = [sample_name(i) for i in range(runs)]
        one = pd.DataFrame(_times(draw, window))
        parts.append(one.assign(sample_id=ids, repeat=0, rank=0, stage=stage))
    return _typed(pd.concat(parts, ignore_index=True), TABLES["stages"])


def _runs(stages: pd.DataFrame, runs: int, steps: int) -> pd.DataFrame:
    wide = stages.pivot(index="sample_id", columns="stage", values="window_ns").astype(float) / 1e6
    busy = stages.pivot(index="sample_id", columns="stage", values="busy_ns").astype(float) / 1e6
    frame = pd.DataFrame(index=range(runs))
    for suffix, table in (("", wide), ("_busy", busy)):
        vision = table["vision_encoder"] + table["projector"]
        for name, values in (
            ("T_vision_encoder", table["vision_encoder"]),
            ("T_projector", table["projector"]),
            ("T_vision_total", vision),
            ("T_LLM_prefill", table["prefill"]),
            ("T_LLM_decode", table["decode"]),
            ("T_sampling", table["sampling"]),
            ("T_rest", table["other"]),
            ("T_total", table.sum(axis=1)),
            ("T_decode_per_token", table["decode"] / steps),
        ):
            frame[f"{name}{suffix}_ms"] = values.to_numpy()
    frame = frame.assign(
        sample_id=[sample_name(i) for i in range(runs)],
        repeat=0,
        rank=0,
        role="recorded",
        decode_steps=steps,
        output_tokens=steps + 1,
        gpu_ops=696 * len(STAGES),
        checks_hold=True,
        warnings="",
        clock="device",
        trace=[f"{sample_name(i)}.json.gz" for i in range(runs)],
    )
    return _typed(frame, TABLES["runs"]).assign(index=pd.NA)


def _samples(runs: pd.DataFrame) -> pd.DataFrame:
    frame = runs.copy()
    for name in SAMPLE_TIMES:
        frame[f"{name}_recorded_ms"] = runs[f"{name}_ms"]
        latency = frame[f"{name}_ms"] = runs[f"{name}_ms"] / STRETCHED
        frame[f"{name}_lo_ms"], frame[f"{name}_hi_ms"] = latency * 0.97, latency * 1.03
    frame = frame.assign(
        latency_source="control", interval_from="controls", controls=5, half_width_frac=0.03,
        recorded_runs=1, usable=True, usable_decode=True, reasons="",
    )  # fmt: skip
    tiers = [("easy", "hard")[i % 2] for i in range(len(runs))]
    return _typed(frame, TABLES["samples"]).assign(tier=tiers)


def _kernels(draw: np.random.Generator, runs: int) -> pd.DataFrame:
    names = [f"void at::native::kernel_{i}<float, {i}>(int)" for i in range(30)]
    rows = [
        (sample_name(run), stage, name) for run in range(runs) for stage in STAGES for name in names
    ]
    frame = pd.DataFrame(rows, columns=["sample_id", "stage", "name"])
    total = draw.integers(1_000, 4_000_000, len(frame))
    frame = frame.assign(
        repeat=0,
        rank=0,
        op="kernel",
        count=10,
        total_ns=total,
        mean_ns=total / 10,
        max_ns=total // 5,
    )
    return _typed(frame, TABLES["kernels"])


def detail(key: RunKey, *, ops: int = 600) -> SampleDetail:
    """A timeline of prefill and two decode steps: ops of 5 µs every 20 µs."""
    start = np.arange(ops, dtype=np.int64) * 20_000 + 7_000
    end = start + 5_000
    window = int(end[-1]) + 10_000
    keys = (StageKey("prefill"), StageKey("decode", 1), StageKey("decode", 2))
    key_of = (np.arange(ops) * 3 // ops).astype(np.int32)
    edges = np.unique(np.concatenate([[0], start, end, [window]]))
    before = np.searchsorted(start, edges[:-1], side="right") - 1
    busy = (before >= 0) & (edges[:-1] < end[np.maximum(before, 0)])
    state = np.where(busy, State.BUSY, State.EMPTY).astype(np.uint8)
    idle = np.flatnonzero(~busy)
    tile_key = key_of[np.maximum(before, 0)]
    bounds = np.array([0, *(int(start[ops * k // 3]) for k in (1, 2)), window], np.int64)
    return SampleDetail(
        run=key,
        window_ns=window,
        clock="device",
        keys=keys,
        names=("gemm_a", "softmax_b", "cudaStreamSynchronize", "cudaMalloc", "cudaLaunchKernel"),
        lanes=((0, 7),),
        tile_start_ns=edges[:-1],
        tile_end_ns=edges[1:],
        tile_key=tile_key,
        tile_state=state,
        op_start_ns=start,
        op_end_ns=end,
        op_key=key_of,
        op_lane=np.zeros(ops, np.int32),
        op_name=(np.arange(ops) % 2).astype(np.int32),
        range_start_ns=np.array([0, *bounds[:-1]], np.int64),
        range_end_ns=np.array([window, *bounds[1:]], np.int64),
        range_key=np.array([-1, 0, 1, 2], np.int32),
        range_depth=np.array([0, 1, 1, 1], np.int32),
        mark_start_ns=np.array([50_000, 90_000], np.int64),
        mark_end_ns=np.array([54_000, 99_000], np.int64),
        mark_name=np.array([2, 3], np.int32),
        mark_is_alloc=np.array([False, True]),
        op_call=np.arange(ops, dtype=np.int32),
        call_start_ns=start - 6_000,
        call_end_ns=start - 2_000,
        call_name=np.full(ops, 4, np.int32),
        idle_start_ns=edges[:-1][idle],
        idle_end_ns=edges[1:][idle],
        idle_key=tile_key[idle],
        idle_cause=np.zeros(len(idle), np.int32),
        idle_name=np.full(len(idle), -1, np.int32),
    )
