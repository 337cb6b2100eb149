"""Of several ranks the slowest is the one that works longest, not the one that waits longest."""

from __future__ import annotations

import pandas as pd

from tests.paths import DATA
from trace_timing import analyze
from trace_timing.stats.capture.ranks import compare_ranks

#: Two processes on one H200, recorded by benchmarks/why_captures.py.
RANKS = DATA / "why" / "ranks"
KEY = ["sample_id", "repeat", "rank", "stage"]


def _stages(*rows: tuple[str, int, int, str, int | None]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=[*KEY, "busy_ns"]).astype({"busy_ns": "Int64"})
    return found.assign(busy_per_step_ns=float("nan"), recorded_steps=pd.NA)


def _communication(*rows: tuple[str, int, int, str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*KEY, "device", "exposed_ns"])


def _spans(*rows: tuple[str, int, int, str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*KEY, "begin_unix_ns", "end_unix_ns"])


def test_time_exposed_in_collectives_is_waiting_not_work() -> None:
    stages = _stages(("a", 0, 0, "prefill", 100), ("a", 0, 1, "prefill", 101))
    nccl = _communication(("a", 0, 0, "prefill", 0, 5), ("a", 0, 1, "prefill", 0, 40))
    spans = _spans(("a", 0, 0, "prefill", 1000, 1200), ("a", 0, 1, "prefill", 1030, 1190))
    (row,) = compare_ranks(stages, nccl, spans).to_dict("records")
    assert row == {
        "sample_id": "a",
        "repeat": 0,
        "stage": "prefill",
        "ranks": 2,
        "slowest_rank": 0,
        "own_ns": 95,
        "spread_ns": 95 - 61,
        "awaited_rank": 0,
        "wait_spread_ns": 40 - 5,
        "begins_apart_ns": 30,
        "ends_apart_ns": 10,
        "last_rank": 0,
    }


def test_ranks_that_never_ran_at_one_time_are_not_aligned() -> None:
    stages = _stages(("a", 0, 0, "prefill", 100), ("a", 0, 1, "prefill", 101))
    after = _spans(("a", 0, 0, "prefill", 1000, 1200), ("a", 0, 1, "prefill", 1200, 1300))
    (row,) = compare_ranks(stages, _communication(), after).to_dict("records")
    assert row["slowest_rank"] == 1
    assert pd.isna(row["begins_apart_ns"])
    assert pd.isna(row["last_rank"])
    unknown = _spans(("a", 0, 0, "prefill", 1000, 1200))  # one trace does not say when it was
    (row,) = compare_ranks(stages, _communication(), unknown).to_dict("records")
    assert pd.isna(row["ends_apart_ns"])


def test_a_single_rank_is_compared_with_none() -> None:
    stages = _stages(("a", 0, 0, "prefill", 100), ("b", 0, 1, "prefill", 100))
    assert compare_ranks(stages, _communication(), _spans()).empty


def test_ranks_without_a_gpu_timeline_are_left_out() -> None:
    stages = _stages(("a", 0, 0, "prefill", None), ("a", 0, 1, "prefill", None))
    assert compare_ranks(stages, _communication(), _spans()).empty


def test_of_a_stage_recorded_in_part_its_recorded_steps_compare() -> None:
    stages = _stages(("a", 0, 0, "decode", None), ("a", 0, 1, "decode", None))
    stages = stages.assign(busy_per_step_ns=[10.5, 12.0], recorded_steps=[4, 4])
    nccl = _communication(("a", 0, 0, "decode", 0, 2), ("a", 0, 1, "decode", 0, 8))
    (row,) = compare_ranks(stages, nccl, _spans()).to_dict("records")
    assert (row["slowest_rank"], row["own_ns"], row["spread_ns"]) == (0, 40, 0)


def test_two_ranks_of_one_sample_on_one_device_are_aligned_and_never_tiled_together() -> None:
    analysis = analyze(RANKS)
    assert analysis.checks_hold
    assert analysis.samples["rank"].tolist() == [0, 1]
    ranks = analysis.tables["ranks"].to_pandas().set_index("stage")
    # Rank 1 has four rows of the batch, rank 0 one.
    assert ranks["slowest_rank"]["prefill"] == 1
    busy = analysis.stages.set_index(["rank", "stage"])["busy_ns"]
    assert ranks["own_ns"]["prefill"] == busy[1, "prefill"]
    assert ranks["spread_ns"]["prefill"] == busy[1, "prefill"] - busy[0, "prefill"]
    # By the files: generate begins at …198,266.714 and …198,312.039 µs on one clock, and ends
    # 129,390.832 and 117,327.874 µs later, in each case before the last op.
    begins = analysis.tables["spans"].to_pandas().groupby("rank")["begin_unix_ns"].min()
    assert begins[1] - begins[0] == 198_312_039 - 198_266_714
    assert ranks["last_rank"]["other"] == 0
