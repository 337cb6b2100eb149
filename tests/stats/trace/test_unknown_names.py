"""What no table of names knows is said where it is much, and not where it is little."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.timeline.handmade import TWO_STAGES, make_trace
from trace_timing.stats.trace.unknown_names import unknown_names
from trace_timing.trace.events import Kind
from trace_timing.trace.files.reading import open_trace

#: Recorded on two H100 by benchmarks/why_captures.py.
TENSOR_PARALLEL = REPOSITORY / "tests" / "data" / "why" / "tensor_parallel" / "traces"


def test_kernels_and_calls_of_unknown_names_are_named_with_their_share() -> None:
    trace = make_trace(
        ops=[(Kind.KERNEL, "my_own", 0, 30), (Kind.KERNEL, "nvjet_a", 30, 100)],
        calls=[("cudaLaunchKernel", 0, 1), ("cudaLaunchKernel", 2, 3), ("cudaNewThing", 4, 9)],
    )
    kernels, calls = unknown_names(trace)
    assert (kernels.code, calls.code) == ("unknown_kernels", "unknown_calls")
    assert kernels.evidence.startswith("30% of kernel time, most of it my_own")
    # 5 of 7 ns.
    assert calls.evidence == "71% of the time in calls, 1 of 3, most of it cudaNewThing"


def test_two_percent_are_no_warning() -> None:
    ops = [(Kind.KERNEL, "my_own", 0, 2), (Kind.KERNEL, "nvjet_a", 2, 100)]
    assert not list(unknown_names(make_trace(ops=ops)))
    calls = [("cudaNewThing", 0, 2), ("cudaLaunchKernel", 2, 100)]
    assert not list(unknown_names(make_trace(calls=calls)))
    longer = [("cudaNewThing", 0, 3), ("cudaLaunchKernel", 3, 100)]
    assert [warning.code for warning in unknown_names(make_trace(calls=longer))] == [
        "unknown_calls"
    ]
    assert not list(unknown_names(TWO_STAGES))
    assert not list(unknown_names(make_trace()))


@pytest.mark.parametrize(
    "name", ["h200/molmoe_1crop_user_scope", "peers/hta_ns_resolution", "peers/hta_rank_non_gpu"]
)
def test_real_traces_give_no_such_warning(shared: Path, name: str) -> None:
    assert not list(unknown_names(open_trace(shared / "traces" / f"{name}.json.gz")))


@pytest.mark.parametrize("rank", [0, 1])
def test_many_unnamed_calls_that_take_next_to_nothing_are_no_warning(rank: int) -> None:
    trace = open_trace(TENSOR_PARALLEL / f"tensor_parallel-93be662f.r0.k{rank}.json.gz")
    calls = trace.events.rows(Kind.CALL)
    unnamed = calls[trace.events.name[calls] == trace.names.index("INVALID")]
    # One for each of 128 collectives and the barrier: 2.2 % of the calls, 0.6 % of their time.
    assert len(unnamed) == 129 > 0.02 * len(calls)
    assert not list(unknown_names(trace))
