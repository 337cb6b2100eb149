"""Counts, waits and host time of stages, worked out by hand."""

from __future__ import annotations

from typing import Any

from tests.timeline.building import TraceBuilder
from tests.timeline.switched import Rows
from trace_timing.timeline.build.metrics import host_figures
from trace_timing.timeline.build.runs import lay_out


def figures(built: TraceBuilder, *names: str) -> dict[str, Any]:
    """Stage → these columns of its row."""
    rows = Rows(built.trace()).stage_table.to_pylist()
    return {row["stage"]: tuple(row[name] for name in names) for row in rows}


def host_ns(built: TraceBuilder) -> dict[str, int]:
    return {stage: ns for stage, (ns,) in figures(built, "host_ns").items()}


def nested() -> TraceBuilder:
    """A generate() of 100 ns: prefill 10 to 60, in it vision 20 to 50, its encoder 25 to 35."""
    built = TraceBuilder().range("generate", 0, 100).range("prefill", 10, 60)
    return built.range("vision", 20, 50).range("vision_encoder", 25, 35)


def test_a_stage_has_the_hosts_time_without_that_of_the_stages_inside_it() -> None:
    expected = {"vision_encoder": 10, "vision": 20, "prefill": 20, "other": 50}
    assert host_ns(nested()) == expected
    assert sum(expected.values()) == 100


def test_stages_of_another_thread_add_their_time() -> None:
    built = nested().range("sampling[0]", 30, 70, thread=2)
    assert host_ns(built) == {
        "vision_encoder": 10, "vision": 20, "prefill": 20, "sampling": 40, "other": 50,
    }  # fmt: skip


def test_without_a_generate_range_no_time_is_outside_the_stages() -> None:
    built = TraceBuilder().range("prefill", 10, 60).range("decode[1]", 60, 100)
    assert host_ns(built) == {"prefill": 50, "decode": 40}


def test_a_wait_counts_in_the_stage_that_the_host_is_in_when_it_begins() -> None:
    built = nested().call("cudaDeviceSynchronize", 55, 80).call("cudaStreamSynchronize", 61, 63)
    built.call("cudaEventSynchronize", 22, 24).call("cudaMemsetAsync", 40, 49)
    assert figures(built, "syncs", "sync_wait_ns") == {
        "vision_encoder": (0, 0), "vision": (1, 2), "prefill": (1, 25), "other": (1, 2),
    }  # fmt: skip


def test_allocations_are_apart_from_waits() -> None:
    built = nested().call("cudaMalloc", 30, 34).call("cudaFree", 12, 15).call("cudaMalloc", 16, 18)
    assert figures(built, "allocs", "alloc_ns", "syncs") == {
        "vision_encoder": (1, 4, 0), "vision": (0, 0, 0), "prefill": (2, 5, 0), "other": (0, 0, 0),
    }  # fmt: skip


def test_a_call_before_or_after_the_window_is_of_no_run() -> None:
    built = TraceBuilder().range("generate", 10, 60).range("prefill", 10, 60)
    for begin in (9, 10, 59, 60):
        built.call("cudaDeviceSynchronize", begin, begin + 1)
    assert figures(built, "syncs", "sync_wait_ns") == {"prefill": (2, 2)}


def test_a_call_counts_in_its_own_run_alone() -> None:
    built = TraceBuilder()
    for start in (0, 100):
        built.range("generate", start, start + 50).range("prefill", start, start + 50)
    built.call("cudaDeviceSynchronize", 20, 25)
    # The first run's op ends within the second, so that the windows overlap.
    built.op(30, 130, launch=15).op(120, 125, launch=115).call("cudaDeviceSynchronize", 105, 112)
    trace = built.trace()
    timeline = lay_out(trace)
    waits = [host_figures(trace, timeline.hosts, run).sync_wait_ns.sum() for run in timeline.runs]
    assert waits == [5, 7]


def test_a_launch_of_several_ops_counts_once_in_the_stage_of_the_first() -> None:
    built = TraceBuilder().range("generate", 0, 100).range("prefill", 0, 50)
    built.graph(10, [(20, 25), (25, 30), (40, 45)]).op(50, 60, launch=12).op(70, 72)
    found = figures(built, "launches", "gpu_ops", "kernel_sum_ns", "span_ns")
    assert found == {"prefill": (2, 4, 25, 40), "other": (0, 0, 0, None),
                     "unattributed": (0, 1, 2, 2)}  # fmt: skip


def test_idle_time_with_work_queued_is_a_part_of_idle_time() -> None:
    built = TraceBuilder().range("generate", 0, 100).range("prefill", 0, 100)
    built.op(30, 50, launch=10).op(60, 80, launch=55)
    # Empty 0 to 10, 50 to 55 and 80 to 100; queued 10 to 30 and 55 to 60.
    found = figures(built, "window_ns", "busy_ns", "idle_ns", "queued_ns")
    assert found == {"prefill": (100, 40, 60, 25)}
