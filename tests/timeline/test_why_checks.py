"""On real traces: causes of a stage sum to its idle time, kinds to its busy and kernel time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from trace_timing.timeline.breakdown.idle_causes import idle_causes
from trace_timing.timeline.breakdown.kind_times import kind_times
from trace_timing.timeline.breakdown.launch_queue import depth_over_time, queue_figures
from trace_timing.timeline.build.model import RunTimeline, State
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.events import Trace
from trace_timing.trace.kineto.reader import read_trace

TRACES = [
    "h200/llava_llama1b_user_scope",
    "h200/llava_llama1b_cuda_only_no_ranges",
    "h200/molmoe_1crop_user_scope",
    "peers/hta_negative_queue_length",
    "peers/hta_ns_resolution",
    "peers/tracelens_mi210_gpu_only",
    "peers/tracelens_vllm_decode_graph",
]


def _tiled(run: RunTimeline, *, busy: bool) -> Counter[str]:
    tiles, out = run.tiles, Counter[str]()
    chosen = (tiles.state == State.BUSY) == busy
    for i in np.flatnonzero(chosen):
        out[run.keys[tiles.key[i]].stage] += int(tiles.end_ns[i] - tiles.start_ns[i])
    return out


def _check_launch_bound(trace: Trace, run: RunTimeline) -> None:
    """What is not launch-bound of the idle time is the device's own gaps and the tail."""
    own: Counter[str] = Counter()
    for cause in idle_causes(trace, run):
        if cause.cause not in ("device_gap", "tail"):
            own[cause.stage] += cause.idle_ns
    for row in queue_figures(run):
        assert row.launch_bound_ns == own[row.stage]


def _check_depth(run: RunTimeline) -> None:
    """Over all parts of the window the depth sums to the time that ops waited to start in it."""
    bins = depth_over_time(run)
    begin, end = run.window_start_ns, run.window_end_ns
    ends = [*(b.start_ns for b in bins[1:]), end - begin]
    area = sum(b.mean_depth * (e - b.start_ns) for b, e in zip(bins, ends, strict=True))
    since = np.clip(run.ops.launch_ns, begin, end)
    until = np.clip(run.ops.start_ns, begin, end)
    assert area == pytest.approx(int((until - since).sum()), rel=1e-9)
    assert max(b.max_depth for b in bins) == max(row.max_depth for row in queue_figures(run))


@pytest.mark.parametrize("name", TRACES)
def test_the_queue_over_time_of_a_real_run_sums_to_the_waits_of_its_ops(
    shared: Path, name: str
) -> None:
    trace = read_trace(shared / "traces" / f"{name}.json.gz")
    for run in lay_out(trace).runs:
        _check_depth(run)


@pytest.mark.parametrize("name", TRACES)
def test_causes_and_kinds_sum_to_their_stage_exactly(shared: Path, name: str) -> None:
    trace = read_trace(shared / "traces" / f"{name}.json.gz")
    for run in lay_out(trace).runs:
        idle, busy, total = Counter[str](), Counter[str](), Counter[str]()
        for cause in idle_causes(trace, run):
            idle[cause.stage] += cause.idle_ns
        for kind in kind_times(trace, run):
            busy[kind.stage] += kind.busy_ns
            total[kind.stage] += kind.kernel_sum_ns
        assert +idle == _tiled(run, busy=False)
        _check_launch_bound(trace, run)
        assert +busy == _tiled(run, busy=True)
        expected = Counter[str]()
        for key, start, end in zip(
            run.ops.key.tolist(), run.ops.start_ns.tolist(), run.ops.end_ns.tolist(), strict=True
        ):
            expected[run.keys[key].stage] += end - start
        assert total == expected
        assert sum(total.values()) > 0


def test_the_queue_of_an_eager_decode_is_nearly_always_empty(h200: Path) -> None:
    trace = read_trace(h200 / "llava_llama1b_user_scope.json.gz")
    (run,) = lay_out(trace).runs
    decode = next(row for row in queue_figures(run) if row.stage == "decode")
    assert decode.gpu_ops == 7656
    # Nine of ten launches find the device with nothing to do.
    assert decode.starved_launches > 0.9 * decode.launches
    # Seen by hand in these traces: 4 to 5 µs at least, about 7 in the median.
    assert decode.latency_p50_ns is not None
    assert 6_000 < decode.latency_p50_ns < 9_000
    assert run.cells.depth[-1] == 0


def test_a_graph_replay_queues_all_its_ops_at_once(peers: Path) -> None:
    trace = read_trace(peers / "tracelens_vllm_decode_graph.json.gz")
    (run,) = lay_out(trace).runs
    (row,) = queue_figures(run)
    assert row.max_depth > 400
