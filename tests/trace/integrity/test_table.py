"""Faults that a trace's own events betray, each found by its check and by no stricter one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.timeline.building import TraceBuilder
from trace_timing.trace.events import NONE, Kind, Trace, TraceInfo
from trace_timing.trace.integrity.check import run_checks
from trace_timing.trace.integrity.table import TRACE_CHECKS

#: Not at 0, as every real trace.
T0 = 5_000_000_000
OPS = 10


def sound(*, shift: int = 0, last_ns: int = 9_000, sync_at: int | None = 120_000) -> TraceBuilder:
    """Ten ops of 9 µs back to back, launched every 5 µs, then a wait for the device."""
    built = TraceBuilder()
    for number in range(OPS):
        start = T0 + 10_000 + 9_000 * number + shift
        length = last_ns if number == OPS - 1 else 9_000
        built.op(start, start + length, launch=T0 + 5_000 * number)
    if sync_at is not None:
        built.call("cudaDeviceSynchronize", T0 + 55_000, T0 + sync_at)
    return built


def found(trace: Trace) -> dict[str, str]:
    """Level by code, of the checks that did not pass."""
    results = run_checks(TRACE_CHECKS, trace)
    return {r.code: r.level for r in results if r.level != "PASS"}


def test_a_sound_trace_passes_every_check_with_what_was_looked_at() -> None:
    results = run_checks(TRACE_CHECKS, sound().trace())
    assert {r.level for r in results} == {"PASS"}
    assert all(r.evidence and "\n" not in r.evidence for r in results)


def _zero() -> Trace:
    built = sound()
    built.rows[0]["start_ns"] = 0  # a call
    return built.trace()


def _doubled() -> Trace:
    built = sound()
    built.rows += [dict(row) for row in built.rows if row["kind"] == Kind.KERNEL]
    return built.trace()


def _doubled_under_other_ids() -> Trace:
    built = sound()
    ops = [dict(row) for row in built.rows if row["kind"] == Kind.KERNEL]
    built.rows += [row | {"correlation": row["correlation"] + 100} for row in ops]
    return built.trace()


def _one_launch() -> Trace:
    built = sound()
    for row in built.rows:
        if row["kind"] == Kind.KERNEL:
            row["correlation"] = 1
    return built.trace()


def _swapped_ops() -> Trace:
    built = sound()
    kernels = [row for row in built.rows if row["kind"] == Kind.KERNEL]
    kernels[2]["correlation"], kernels[6]["correlation"] = (
        kernels[6]["correlation"],
        kernels[2]["correlation"],
    )
    return built.trace()


def _renumbered(new_id: Callable[[int], int]) -> Trace:
    """Launches and their ops under other ids."""
    built = sound()
    for row in built.rows:
        if "correlation" in row:
            row["correlation"] = new_id(row["correlation"])
    return built.trace()


def _one_more(device: int, kind: Kind = Kind.KERNEL) -> Trace:
    """Another op under the last launch."""
    built = sound(sync_at=None)
    built.add(
        kind, "one more", T0 + 200_000, T0 + 205_000, device=device, stream=7,
        correlation=built.correlation,
    )  # fmt: skip
    return built.trace()


def _no_id(*places: int) -> Trace:
    """Without the ids of some of the ten launches, and without their ops."""
    built = sound()
    launches = [row for row in built.rows if row["kind"] == Kind.CALL][:OPS]
    lost = [launches[place].pop("correlation") for place in places]
    built.rows = [row for row in built.rows if row.get("correlation") not in lost]
    return built.trace()


def _beside_launches_of(pid: str) -> Trace:
    return replace(sound().trace(), info=TraceInfo(launching_only=(pid,)))


def _far_op(by_ns: int) -> Trace:
    built = sound(sync_at=None)
    built.rows[-1]["start_ns"] += by_ns
    return built.trace()


def _late_copy(by_ns: int) -> Trace:
    built = sound(sync_at=None)
    built.add(Kind.CALL, "cudaMemcpyAsync", T0 + 60_000, T0 + 110_000, thread=0, correlation=99)
    start, end = T0 + 101_000, T0 + 110_000 + by_ns
    name = "Memcpy DtoH (Device -> Pageable)"
    built.add(Kind.MEMCPY, name, start, end, device=0, stream=7, correlation=99)
    return built.trace()


def _noted(note: str) -> Trace:
    return replace(sound().trace(), info=TraceInfo(notes=(note,)))


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (_zero, {"zero_timestamp": "FAIL", "absurd_wait": "FAIL"}),
        (lambda: _noted("Dropped 312 activity records"), {"dropped_records": "FAIL"}),
        (_doubled, {"doubled_events": "FAIL", "shared_launch": "FAIL"}),
        (_doubled_under_other_ids, {"doubled_events": "FAIL", "corrupt_durations": "FAIL"}),
        (_one_launch, {"shared_launch": "FAIL"}),
        (_swapped_ops, {"out_of_order": "FAIL", "clock_skew": "WARN"}),
        (lambda: _renumbered(lambda n: 10 if n == 3 else n + 10), {"falling_ids": "FAIL"}),
        (lambda: _renumbered(lambda n: 20 - n), {"falling_ids": "FAIL"}),
        (lambda: _no_id(3, 4), {"launch_without_id": "WARN"}),
        (lambda: _beside_launches_of("4243"), {"launching_only": "WARN"}),
        (lambda: _one_more(device=NONE), {"shared_launch": "FAIL"}),
        (lambda: _one_more(device=0, kind=Kind.MEMSET), {"shared_launch": "FAIL"}),
        (lambda: sound(shift=-12_000).trace(), {"clock_skew": "WARN"}),
        (lambda: sound(shift=-70_000).trace(), {"op_before_launch": "FAIL"}),
        (lambda: sound(shift=40_000).trace(), {"early_return": "WARN"}),
        (lambda: sound(shift=80_000).trace(), {"op_after_sync": "FAIL", "slow_launches": "WARN"}),
        (lambda: sound(shift=80_000, sync_at=None).trace(), {"slow_launches": "WARN"}),
        (
            lambda: sound(last_ns=1_600_000_000).trace(),
            {"op_after_sync": "FAIL", "long_last_op": "WARN"},
        ),
        (lambda: sound(last_ns=1_600_000, sync_at=None).trace(), {"long_last_op": "WARN"}),
        (lambda: sound(last_ns=0).trace(), {"zero_length_op": "WARN"}),
        (lambda: _late_copy(20_000), {"early_return": "WARN"}),
        (lambda: _late_copy(90_000), {"op_after_sync": "FAIL"}),
        (lambda: _far_op(2_000_000), {"long_wait": "WARN"}),
        (lambda: _far_op(1_000_000_000), {"long_wait": "WARN"}),
        (lambda: _far_op(1_000_000_001), {"absurd_wait": "FAIL"}),
        (lambda: _far_op(1_000_000_000_000), {"absurd_wait": "FAIL"}),
    ],
)
def test_each_fault_is_found(broken: Callable[[], Trace], expected: dict[str, str]) -> None:
    assert found(broken()) == expected


def test_what_the_evidence_names_is_short_whatever_the_names() -> None:
    built = sound()
    built.op(T0 + 50_000, T0 + 260_000, launch=T0 + 54_000, name="k" * 100_000)
    results = run_checks(TRACE_CHECKS, built.trace())
    assert all(len(r.evidence) < 300 for r in results)
    assert any("kkk…" in r.evidence for r in results if r.level != "PASS")


def test_a_graphs_nodes_share_a_launch_and_may_start_together() -> None:
    built = sound(sync_at=None)
    nodes = [(T0 + 200_000, T0 + 205_000)] * 3 + [(T0 + 205_000, T0 + 210_000)]
    built.graph(T0 + 190_000, nodes)
    assert found(built.trace()) == {}


def test_a_cooperative_launch_puts_a_kernel_on_each_device() -> None:
    assert found(_one_more(device=1)) == {}


def test_ids_begin_again_at_the_end_of_their_counter() -> None:
    assert found(_renumbered(lambda n: (2**32 - 5 + n) % 2**32 + 1)) == {}


def test_a_trace_may_have_no_ids_at_all() -> None:
    assert found(_no_id(*range(OPS))) == {}


def test_ids_are_counted_up_on_each_thread_by_itself() -> None:
    built = sound(sync_at=None)
    built.op(T0 + 110_000, T0 + 119_000, launch=T0 + 1_000, thread=1)
    assert found(built.trace()) == {}


def test_streams_run_beside_each_other_in_any_order() -> None:
    built = sound(sync_at=None)
    built.op(T0 + 300_000, T0 + 301_000, launch=T0 + 60_000, stream=8)
    built.op(T0 + 110_000, T0 + 250_000, launch=T0 + 70_000, stream=9)
    assert found(built.trace()) == {}


def test_a_wait_on_another_device_says_nothing_of_this_one() -> None:
    built = sound()
    for row in built.rows[:2]:
        row |= {"device": 1} if row["kind"] == Kind.KERNEL else {}
    built.call("cudaDeviceSynchronize", T0 + 46_000, T0 + 47_000)
    assert found(built.trace()) == {}


def test_a_trace_may_begin_at_zero() -> None:
    built = TraceBuilder().op(10_000, 19_000, launch=0)
    assert found(built.trace()) == {}
    assert found(TraceBuilder().trace()) == {}
