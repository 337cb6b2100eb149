"""HTA's figures of a stage beside ours: equal where both mean the same thing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.timeline.handmade import TWO_STAGES, TWO_STAGES_RUN
from trace_timing import analyze
from trace_timing.errors import UsageError
from trace_timing.report.html.sections.why import TITLES
from trace_timing.stats.trace.diagnosis import why

KEY = ["stage", "measure", "item"]


def test_rows_of_a_hand_made_stage() -> None:
    pytest.importorskip("hta")
    rows = why(TWO_STAGES, TWO_STAGES_RUN, hta=True).hta
    assert [(r.measure, r.item, r.ours, r.hta) for r in rows if r.stage == "prefill"] == [
        ("idle_ns", None, 200, 0),  # ours before the first op and after the last, HTA's between
        ("busy_ns", "computation", 150, 150),
        ("busy_ns", "memory", 50, 50),
        ("kernel_sum_ns", None, 200, 200),
        ("kernel_sum_ns", "nvjet_a", 150, 150),
        ("kernel_sum_ns", "Memcpy DtoH (Device -> Pinned)", 50, 50),
        ("launches", None, 2, 2),
        # 100 → 150, the one op that found nothing to wait for; ends of calls 120, 140 → 150, 300.
        ("launch_latency_p50_ns", None, 50, (30 + 160) / 2),
        ("max_queue", None, 2, 2),
    ]
    assert {row.stage for row in rows} == {"prefill", "decode"}  # `other` has no op


def test_nothing_of_hta_is_run_unasked() -> None:
    assert why(TWO_STAGES, TWO_STAGES_RUN).hta == ()


@pytest.fixture(
    scope="module",
    params=["llava_llama1b_user_scope", "llava_olmoe_cpu_cuda", "molmoe_1crop_user_scope"],
)
def beside(request: pytest.FixtureRequest, h200: Path) -> pd.DataFrame:
    pytest.importorskip("hta")
    analysis = analyze(h200 / f"{request.param}.json.gz", hta=True)
    (section,) = [s for s in analysis.report_data().sections if s.slug == "why"]
    assert len(section.tables[TITLES["hta"]]) == analysis.tables["hta"].num_rows
    return analysis.tables["hta"].to_pandas()


def test_busy_time_and_top_kernels_of_real_stages_are_equal(beside: pd.DataFrame) -> None:
    same = beside[beside["measure"].isin(["busy_ns", "kernel_sum_ns"])]
    assert len(same) > 20
    # Where two ops of one stream overlap by a µs, HTA names a kind of its own for that.
    alone = same[~same["item"].fillna("").str.contains("overlapping")]
    assert (alone["ours"] - alone["hta"]).abs().max() <= 0


def test_idle_time_of_real_stages_differs_by_what_lies_around_their_ops(
    beside: pd.DataFrame,
) -> None:
    idle = beside[(beside["measure"] == "idle_ns") & beside["item"].isna()].set_index("stage")
    for stage in ("prefill", "decode"):
        assert 0 <= idle["ours"][stage] - idle["hta"][stage] < 0.05 * idle["ours"][stage]


def test_without_hta_the_analysis_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hta.common.trace", None)
    with pytest.raises(UsageError, match="HTA"):
        analyze(tmp_path, hta=True)
