"""Kinds of a stage sum to the stage: durations to kernel_sum, instants to busy."""

from __future__ import annotations

from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN
from trace_timing.timeline.breakdown.kind_times import kind_times


def test_kinds_of_a_hand_made_run() -> None:
    rows = kind_times(TWO_STAGES, TWO_STAGES_RUN)
    assert [(r.stage, r.op_kind, r.gpu_ops, r.kernel_sum_ns, r.busy_ns) for r in rows] == [
        ("prefill", "gemm", 1, 150, 150),
        ("prefill", "memcpy_dtoh", 1, 50, 50),
        ("decode", "gemm", 1, 190, 190),
        # 600…800, of which 600…700 belongs to the product that was launched first.
        ("decode", "elementwise", 1, 200, 100),
    ]


def test_a_stage_without_ops_has_no_kinds() -> None:
    assert not [r for r in kind_times(TWO_STAGES, TWO_STAGES_RUN) if r.stage == "other"]
