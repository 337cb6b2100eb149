"""The page `why` speaks once for many runs, and is silent where there is nothing to say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from trace_timing import analyze
from trace_timing.report.why_section import TITLES, sentences

KEY = ["sample_id", "repeat", "rank", "stage"]


def test_of_several_runs_the_longest_speaks() -> None:
    stages = pd.DataFrame(
        [("a", 0, 0, "decode", 10), ("b", 0, 0, "decode", 30), ("c", 0, 0, "decode", 20)],
        columns=[*KEY, "window_ns"],
    )
    verdicts = pd.DataFrame(
        [
            ("a", 0, 0, "decode", "host_bound", "A.", "ea", "r"),
            ("b", 0, 0, "decode", "host_bound", "B.", "eb", "r"),
        ],
        columns=[*KEY, "code", "sentence", "evidence", "remedy"],
    )
    assert sentences(verdicts, stages) == [
        "B. (in 2 of 3 runs; here b) Evidence: eb. To shorten it: r."
    ]
    assert sentences(verdicts.iloc[:0], stages) == ["No stage gives evidence enough for a verdict."]


def test_a_real_trace_has_the_page_with_its_tables(h200: Path) -> None:
    data = analyze(h200 / "molmoe_1crop_user_scope.json.gz").report_data()
    (section,) = [s for s in data.sections if s.slug == "why"]
    assert any("7,211 cudaStreamSynchronize" in sentence for sentence in section.sentences)
    assert TITLES["idle"] in section.tables
    assert TITLES["graphs"] not in section.tables  # none was launched


def test_bars_of_a_stage_sum_to_its_busy_and_idle_time(h200: Path) -> None:
    analysis = analyze(h200 / "llava_llama1b_user_scope.json.gz")
    (section,) = [s for s in analysis.report_data().sections if s.slug == "why"]
    stages = analysis.stages.set_index("stage")
    for title, column in (
        ("Busy time by kind of work", "busy_ns"),
        ("Idle time by cause", "idle_ns"),
    ):
        bars = section.figures[title].data
        for i, stage in enumerate(bars[0].x):
            height_ms = sum(bar.y[i] for bar in bars)
            assert abs(height_ms * 1e6 - stages.loc[stage, column]) < 1, (title, stage)
