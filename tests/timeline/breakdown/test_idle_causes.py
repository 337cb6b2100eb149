"""Every idle instant of a stage has one cause, and the causes sum to the stage's idle time."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace

from tests.conftest import REPOSITORY
from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN, make_run, make_trace
from trace_timing.timeline.breakdown.api_calls import calls_of_run
from trace_timing.timeline.breakdown.idle_causes import CAUSES, DEFINITIONS, idle_causes
from trace_timing.timeline.breakdown.launch_queue import queue_figures
from trace_timing.timeline.build.model import StageKey, State
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.events import Kind
from trace_timing.trace.files.reading import open_trace

WHY_TRACES = REPOSITORY / "tests" / "data" / "why"


def test_causes_of_a_hand_made_run() -> None:
    rows = idle_causes(TWO_STAGES, TWO_STAGES_RUN)
    seen = [(r.stage, r.cause, r.call, r.count, r.call_ns, r.idle_ns) for r in rows]
    assert seen == [
        ("prefill", "host", None, 2, None, 120),  # 0…100 and 380…400
        ("prefill", "launch_latency", None, 1, None, 50),  # 100…150, whatever the host does
        ("prefill", "sync", "cudaStreamSynchronize", 1, 180, 30),  # 350…380 of 200…380
        ("decode", "host", None, 2, None, 40),  # 400…420 and 480…500
        ("decode", "launch_latency", None, 1, None, 10),
        ("decode", "sync", "cudaDeviceSynchronize", 1, 120, 0),  # idle only after the last op
        ("decode", "alloc", "cudaMalloc", 1, 60, 60),
        ("decode", "tail", None, 1, None, 50),
        ("other", "tail", None, 1, None, 50),
    ]


def test_work_launched_in_time_leaves_the_gap_to_the_device() -> None:
    trace = make_trace(
        ops=[(Kind.KERNEL, "a", 10, 20), (Kind.KERNEL, "b", 25, 30), (Kind.KERNEL, "c", 45, 50)],
        calls=[
            ("cudaLaunchKernel", 1, 2),
            ("cudaLaunchKernel", 3, 4),
            ("cudaLaunchKernel", 40, 42),
        ],
    )
    run = make_run(trace, [StageKey("decode", 1)], (0, 50), [0, 0, 0], [(0, 0)])
    tiles = zip(run.tiles.start_ns, run.tiles.end_ns, run.tiles.state, strict=True)
    assert [(int(a), int(b), State(state)) for a, b, state in tiles] == [
        (0, 1, State.EMPTY),
        (1, 10, State.QUEUED),
        (10, 20, State.BUSY),
        (20, 25, State.QUEUED),  # b was launched at 3, while a ran
        (25, 30, State.BUSY),
        (30, 40, State.EMPTY),
        (40, 45, State.QUEUED),
        (45, 50, State.BUSY),
    ]
    assert {(r.cause, r.idle_ns) for r in idle_causes(trace, run)} == {
        ("host", 1 + 10),
        ("launch_latency", 9 + 5),
        ("device_gap", 5),
    }
    (queue,) = queue_figures(run)
    assert queue.launch_bound_ns == 25


def test_causes_of_a_stage_sum_to_its_idle_time() -> None:
    tiles = TWO_STAGES_RUN.tiles
    idle: Counter[str] = Counter()
    for start, end, key, state in zip(
        tiles.start_ns, tiles.end_ns, tiles.key, tiles.state, strict=True
    ):
        if state != State.BUSY:
            idle[TWO_STAGES_RUN.keys[key].stage] += int(end - start)
    explained: Counter[str] = Counter()
    for row in idle_causes(TWO_STAGES, TWO_STAGES_RUN):
        explained[row.stage] += row.idle_ns
    assert explained == idle == {"prefill": 200, "decode": 160, "other": 50}


def test_a_run_on_the_host_clock_has_no_idle_device_to_explain() -> None:
    assert idle_causes(TWO_STAGES, replace(TWO_STAGES_RUN, clock="host")) == ()


def test_another_threads_calls_are_not_the_generating_threads() -> None:
    rows = idle_causes(TWO_STAGES, replace(TWO_STAGES_RUN, generating_thread=1))
    assert {row.cause for row in rows} == {"host", "launch_latency", "tail"}
    assert sum(row.idle_ns for row in rows) == 410


def test_a_driver_call_inside_a_runtime_call_is_not_counted_again() -> None:
    calls = calls_of_run(TWO_STAGES, TWO_STAGES_RUN)
    assert [TWO_STAGES.names[name] for name in calls.name] == [
        "cudaLaunchKernel",
        "cudaMemcpyAsync",
        "cudaStreamSynchronize",
        "cudaMalloc",
        "cudaLaunchKernel",
        "cudaLaunchKernel",
        "cudaDeviceSynchronize",
    ]
    nested = make_trace(calls=[("cudaLaunchKernel", 0, 10), ("cuLaunchKernel", 2, 8)])
    assert len(calls_of_run(nested, replace(TWO_STAGES_RUN))) == 1


def test_allocator_calls_of_a_real_run_are_counted_and_timed_by_stage() -> None:
    path = WHY_TRACES / "allocator/traces/allocator-09290cc1.r0.k0.json.gz"
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    (prefill,) = (e for e in events if e["name"] == "prefill" and e["cat"] == "user_annotation")
    mallocs = [e for e in events if e["name"] == "cudaMalloc"]
    begin, end = prefill["ts"], prefill["ts"] + prefill["dur"]
    assert all(begin <= e["ts"] < end for e in mallocs)
    trace = open_trace(path)
    (run,) = lay_out(trace).runs
    (row,) = (r for r in idle_causes(trace, run) if r.cause == "alloc")
    assert (row.stage, row.call, row.count) == ("prefill", "cudaMalloc", len(mallocs))
    assert row.call_ns == round(sum(e["dur"] for e in mallocs) * 1000)
    # Nothing was queued while it allocated: all of it is idle time.
    assert row.idle_ns == row.call_ns


def test_every_cause_is_defined() -> None:
    assert set(DEFINITIONS) == set(CAUSES)
