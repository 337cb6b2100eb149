"""The tables of why: complete, typed by the schema, and their sums are the stages'."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from tests.timeline.building import TraceBuilder
from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN, make_run, make_trace
from trace_timing import schema
from trace_timing.stats.trace.diagnosis import WHY_TABLES, why, window_by_stage
from trace_timing.stats.trace.trace_result import TraceSource, columns_of_rows, result_of
from trace_timing.timeline.build.model import StageKey
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.events import Kind
from trace_timing.trace.kineto.reader import read_trace

KEY = {"sample_id": "s", "repeat": 0, "rank": 0}


def test_every_table_fits_its_schema() -> None:
    explained = vars(why(TWO_STAGES, TWO_STAGES_RUN))
    assert tuple(explained) == WHY_TABLES
    tables = {name: columns_of_rows(rows, KEY) for name, rows in explained.items() if rows}
    assert {"kinds", "idle", "queue", "queue_depth", "verdicts"} <= set(tables)
    for name, columns in tables.items():
        assert tuple(columns) == schema.TABLES[name].names
        table = pa.table(columns, schema=schema.TABLES[name].arrow())
        assert schema.check(table, schema.TABLES[name]).num_rows == len(columns["sample_id"]) > 0
    assert len(tables["idle"]["cause"]) == 9
    assert len(tables["kinds"]["stage"]) == 4


def test_windows_by_stage_of_a_hand_made_run() -> None:
    assert window_by_stage(TWO_STAGES_RUN) == {"prefill": 400, "decode": 450, "other": 50}


def test_a_stage_whose_first_steps_were_not_recorded_has_a_verdict_all_the_same() -> None:
    built = TraceBuilder().range("generate", 0, 4_000)
    built.range("recording_off", 0, 1_000).range("decode[1]", 0, 1_000)
    built.range("recording_guard", 1_000, 1_500).range("decode[2]", 1_000, 1_500)
    built.range("decode[3]", 1_500, 2_700).range("decode[4]", 2_700, 4_000)
    for start in range(1_500, 4_000, 100):  # 10 of 100 ns busy, and nothing queued before
        built.op(start + 20, start + 30, launch=start + 10, name="nvjet_a")
    trace = built.trace()
    (run,) = lay_out(trace).runs
    (verdict,) = why(trace, run).verdicts
    assert (verdict.stage, verdict.code) == ("decode", "host_bound")
    assert verdict.evidence.endswith("in the 2 recorded steps of 4")


def test_a_run_on_the_host_clock_gets_no_verdict() -> None:
    assert why(TWO_STAGES, replace(TWO_STAGES_RUN, clock="host")).verdicts == ()


def test_a_hand_made_run_is_judged_by_its_evidence() -> None:
    codes = {(v.stage, v.code) for v in why(TWO_STAGES, TWO_STAGES_RUN).verdicts}
    # Decode: 60 of 450 ns idle in cudaMalloc. Prefill: 50 of 400 ns copy to the host; half of its
    # launches starved it, not most.
    assert codes == {("decode", "allocator"), ("prefill", "copies")}


def test_a_device_bound_run_is_neither_host_bound_nor_a_sync_loop() -> None:
    trace = make_trace(
        ops=[(Kind.KERNEL, "nvjet_a", 2, 400), (Kind.KERNEL, "nvjet_a", 400, 900)],
        calls=[("cudaLaunchKernel", 0, 1), ("cudaLaunchKernel", 10, 11)],
    )
    keys = [StageKey("prefill"), StageKey("decode", 1), StageKey("other")]
    run = make_run(trace, keys, (0, 900), op_keys=[0, 1], host=[(0, 0), (5, 1), (20, -1)])
    codes = {(v.stage, v.code) for v in why(trace, run).verdicts}
    assert ("decode", "device_bound") in codes
    assert not {c for _, c in codes} & {"host_bound", "sync_bound", "expert_sync_loop"}


def test_in_the_result_of_a_trace_kinds_and_causes_sum_to_the_stage_rows(h200: Path) -> None:
    trace = read_trace(h200 / "llava_llama1b_user_scope.json.gz")
    source = TraceSource(location="x", name="x", sample_id="x")
    tables = result_of(trace, lay_out(trace), source).tables
    stages = {row["stage"]: row for row in tables["stages"].to_pylist()}
    sums: Counter[tuple[str, str]] = Counter()
    for row in tables["kinds"].to_pylist():
        for column in ("gpu_ops", "kernel_sum_ns", "busy_ns"):
            sums[row["stage"], column] += row[column]
    for row in tables["idle"].to_pylist():
        sums[row["stage"], "idle_ns"] += row["idle_ns"]
    for stage, row in stages.items():
        for column in ("gpu_ops", "kernel_sum_ns", "busy_ns", "idle_ns"):
            assert sums[stage, column] == (row[column] or 0), (stage, column)
    syncs = {
        row["stage"]: row["count"] for row in tables["idle"].to_pylist() if row["cause"] == "sync"
    }
    assert syncs == {s: row["syncs"] for s, row in stages.items() if row["syncs"]}
