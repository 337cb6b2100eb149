"""An op belongs to the innermost component range at its launch; parts of a stage sum to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN
from trace_timing.timeline.breakdown.components import component_times
from trace_timing.trace.events import Events, Kind, Trace


def _with_ranges(*ranges: tuple[str, int, int]) -> Trace:
    """TWO_STAGES with host ranges of its thread added."""
    old, names = TWO_STAGES.events, [*TWO_STAGES.names]
    n = len(ranges)
    none = np.full(n, -1, np.int64)
    names += [name for name, _, _ in ranges]
    added = {
        "kind": np.full(n, Kind.RANGE, np.uint8),
        "name": np.arange(len(TWO_STAGES.names), len(names), dtype=np.int32),
        "start_ns": np.array([start for _, start, _ in ranges], np.int64),
        "dur_ns": np.array([end - start for _, start, end in ranges], np.int64),
        "thread": np.zeros(n, np.int32),
    }
    merged = {
        field: np.concatenate([getattr(old, field), added.get(field, none)]).astype(
            getattr(old, field).dtype
        )
        for field in Events.__dataclass_fields__
    }
    return replace(TWO_STAGES, events=Events(**merged), names=tuple(names))


def test_components_of_a_hand_made_run() -> None:
    trace = _with_ranges(
        ("component:mlp[3]", 50, 200),
        ("component:experts[3]", 125, 150),  # inside the MLP, around the launch of the copy
        ("component:head", 495, 525),
        ("decode[1]", 0, 900),  # a stage is no component
    )
    rows = component_times(trace, TWO_STAGES_RUN)
    assert [
        (r.stage, r.component, r.layer, r.gpu_ops, r.kernel_sum_ns, r.busy_ns) for r in rows
    ] == [
        ("prefill", "mlp", 3, 1, 150, 150),
        ("prefill", "experts", 3, 1, 50, 50),
        ("decode", "head", None, 1, 190, 190),
        ("decode", "rest", None, 1, 200, 100),
    ]


@pytest.mark.parametrize("column", ["gpu_ops", "kernel_sum_ns", "busy_ns"])
def test_parts_of_a_stage_sum_to_it(column: str) -> None:
    trace = _with_ranges(("component:attention[0]", 90, 110), ("component:norm[0]", 500, 501))
    sums: Counter[str] = Counter()
    for row in component_times(trace, TWO_STAGES_RUN):
        sums[row.stage] += getattr(row, column)
    assert (
        sums
        == {
            "gpu_ops": {"prefill": 2, "decode": 2},
            "kernel_sum_ns": {"prefill": 200, "decode": 390},
            "busy_ns": {"prefill": 200, "decode": 290},
        }[column]
    )


def test_a_trace_without_component_ranges_has_no_rows() -> None:
    assert component_times(TWO_STAGES, TWO_STAGES_RUN) == ()
