"""Queue depth: ops launched and not started; starved: launched when nothing was left to run."""

from __future__ import annotations

import numpy as np
import pytest

from tests.timeline.handmade import TWO_STAGES_RUN, make_run, make_trace
from trace_timing.timeline.breakdown.launch_queue import (
    DEPTH_BINS,
    depth_over_time,
    queue_figures,
)
from trace_timing.timeline.build.model import StageKey
from trace_timing.trace.events import Kind


def test_depth_over_time_of_a_hand_made_run() -> None:
    cells = TWO_STAGES_RUN.cells
    changes = np.flatnonzero(np.diff(cells.depth, prepend=-1))
    found = zip(cells.edge_ns[changes].tolist(), cells.depth[changes].tolist(), strict=True)
    assert dict(found) == {
        0: 0,
        100: 1,
        130: 2,
        150: 1,
        300: 0,
        500: 1,
        510: 0,
        530: 1,
        600: 0,
    }


def test_depth_in_equal_parts_of_the_window_sums_to_the_whole() -> None:
    bins = depth_over_time(TWO_STAGES_RUN)
    assert len(bins) == DEPTH_BINS
    # 900 ns in 200 parts: part 24 is 108…112, with one op launched; 31 is 139…144, with two.
    assert (bins[24].start_ns, bins[24].mean_depth, bins[24].max_depth) == (108, 1.0, 1)
    assert (bins[31].start_ns, bins[31].mean_depth, bins[31].max_depth) == (139, 2.0, 2)
    ends = [*(b.start_ns for b in bins[1:]), 900]
    area = sum(b.mean_depth * (end - b.start_ns) for b, end in zip(bins, ends, strict=True))
    # Each op's time from launch to start: 50, 170, 10, 70.
    assert area == pytest.approx(50 + 170 + 10 + 70)


def test_figures_of_a_hand_made_run() -> None:
    prefill, decode = queue_figures(TWO_STAGES_RUN)
    # 1 op for 30 ns, 2 for 20, 1 for 150, in a window of 400.
    assert prefill.mean_depth == pytest.approx(220 / 400)
    assert decode.mean_depth == pytest.approx((10 + 70) / 450)
    assert (prefill.max_depth, decode.max_depth) == (2, 1)
    assert (prefill.gpu_ops, prefill.launches, prefill.starved_launches) == (2, 2, 1)
    assert (decode.gpu_ops, decode.launches, decode.starved_launches) == (2, 2, 1)
    # 0…150 before the first op; 350…510 between the two, of which prefill's 350…400.
    assert (prefill.launch_bound_ns, decode.launch_bound_ns) == (200, 110)
    assert prefill.launch_bound_frac == pytest.approx(200 / 400)
    assert decode.launch_bound_frac == pytest.approx(110 / 450)
    assert (prefill.latency_p50_ns, decode.latency_p50_ns) == (50.0, 10.0)


def test_a_window_of_centuries_has_a_depth_over_time_all_the_same() -> None:
    century = 3_155_760_000 * 10**9
    ops = [(Kind.KERNEL, "a", 10, 20), (Kind.KERNEL, "corrupt", 2 * century, 2 * century + 10)]
    calls = [("cudaLaunchKernel", 5, 6), ("cudaLaunchKernel", 7, 8)]
    trace = make_trace(ops, calls)
    end = 2 * century + 20
    run = make_run(trace, [StageKey("prefill"), StageKey("other")], (0, end), [0, 0], [(0, 0)])
    bins = depth_over_time(run)
    assert [b.start_ns for b in bins] == [i * end // len(bins) for i in range(len(bins))]
    assert all(round(b.mean_depth, 6) == 1 for b in bins[:-1])
    (prefill,) = queue_figures(run)
    assert round(prefill.mean_depth, 6) == 1
