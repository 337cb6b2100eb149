"""Of several ranks the slowest is the one that works longest, not the one that waits longest."""

from __future__ import annotations

import pandas as pd

from trace_timing.stats.ranks import slowest_ranks

KEY = ["sample_id", "repeat", "rank", "stage"]


def _stages(*rows: tuple[str, int, int, str, int | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*KEY, "busy_ns"]).astype({"busy_ns": "Int64"})


def _communication(*rows: tuple[str, int, int, str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*KEY, "device", "exposed_ns"])


def test_time_exposed_in_collectives_is_waiting_not_work() -> None:
    stages = _stages(("a", 0, 0, "prefill", 100), ("a", 0, 1, "prefill", 101))
    nccl = _communication(("a", 0, 0, "prefill", 0, 5), ("a", 0, 1, "prefill", 0, 40))
    (row,) = slowest_ranks(stages, nccl).to_dict("records")
    assert row == {
        "sample_id": "a",
        "repeat": 0,
        "stage": "prefill",
        "ranks": 2,
        "slowest_rank": 0,
        "own_ns": 95,
        "spread_ns": 95 - 61,
    }


def test_a_single_rank_is_compared_with_none() -> None:
    stages = _stages(("a", 0, 0, "prefill", 100), ("b", 0, 1, "prefill", 100))
    assert slowest_ranks(stages, _communication()).empty


def test_ranks_without_a_gpu_timeline_are_left_out() -> None:
    stages = _stages(("a", 0, 0, "prefill", None), ("a", 0, 1, "prefill", None))
    assert slowest_ranks(stages, _communication()).empty
