"""Launches into a graph that is being captured start nothing, and so are not missed."""

from __future__ import annotations

from tests.timeline.building import TraceBuilder
from trace_timing.trace.calls import calls_that, captured
from trace_timing.trace.events import Kind
from trace_timing.trace.integrity.counts import check_integrity


def _capturing() -> TraceBuilder:
    builder = TraceBuilder()
    builder.op(20, 30, launch=10)
    builder.call("cudaStreamBeginCapture", 40, 41)
    builder.add(Kind.CALL, "cudaLaunchKernel", 42, 43, thread=0, correlation=77)
    builder.add(Kind.CALL, "cudaLaunchKernel", 44, 45, thread=1, correlation=78)
    builder.call("cudaStreamEndCapture", 50, 51)
    builder.op(70, 80, launch=60)
    return builder


def test_calls_between_begin_and_end_of_a_capture_on_their_thread() -> None:
    trace = _capturing().trace()
    rows = trace.events.rows(Kind.CALL)
    launches = rows[calls_that(trace, rows, {"launch"})]
    inside = captured(trace, launches)
    assert trace.events.start_ns[launches[inside]].tolist() == [42]


def test_only_what_is_not_captured_can_be_lost() -> None:
    integrity = check_integrity(_capturing().trace())
    assert integrity.launches_without_ops == 1  # the other thread's
