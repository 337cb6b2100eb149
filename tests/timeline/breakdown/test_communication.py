"""Collectives: an instant is hidden where another op of the device runs, exposed elsewhere."""

from __future__ import annotations

from pathlib import Path

from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN, make_run, make_trace
from trace_timing.timeline.breakdown.communication import communication
from trace_timing.timeline.build.model import StageKey
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.events import Kind
from trace_timing.trace.kineto.reader import read_trace


def test_hidden_and_exposed_time_of_two_overlapping_collectives() -> None:
    trace = make_trace(
        ops=[
            (Kind.KERNEL, "ncclDevKernel_AllReduce_Sum", 10, 50),
            (Kind.KERNEL, "nvjet_a", 20, 30),
            (Kind.KERNEL, "ncclDevKernel_AllGather", 40, 60),
            (Kind.KERNEL, "nvjet_a", 55, 80),
            (Kind.KERNEL, "nvjet_a", 10, 60),  # another device hides nothing
        ],
        calls=[("cudaLaunchKernel", t, t + 1) for t in (1, 2, 3, 4, 5)],
        streams=[13, 7, 14, 7, 7],
        devices=[0, 0, 0, 0, 1],
    )
    run = make_run(trace, [StageKey("prefill")], (0, 80), [0] * 5, [(0, 0)])
    (row,) = communication(trace, run)
    assert (row.stage, row.device, row.nccl_ops) == ("prefill", 0, 2)
    # 10…60 in all; others run 20…30 and 55…80.
    assert (row.hidden_ns, row.exposed_ns) == (15, 35)


def test_a_run_without_collectives_has_no_row() -> None:
    assert communication(TWO_STAGES, TWO_STAGES_RUN) == ()


def test_collectives_of_a_real_trace_divide_into_hidden_and_exposed(peers: Path) -> None:
    trace = read_trace(peers / "hta_negative_queue_length.json.gz")
    (run,) = lay_out(trace).runs
    (row,) = communication(trace, run)
    assert row.nccl_ops == 80
    events = trace.events
    nccl = [
        i for i in events.rows(Kind.KERNEL) if trace.names[events.name[i]].startswith("ncclKernel")
    ]
    instants: set[tuple[int, int]] = set()
    for i in nccl:  # this trace is rounded to µs: count whole ones
        start, end = int(events.start_ns[i]) // 1000, int(events.end_ns[i]) // 1000
        instants.update((int(events.device[i]), t) for t in range(start, end))
    assert row.hidden_ns + row.exposed_ns == len(instants) * 1000
