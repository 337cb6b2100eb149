"""A trace of several ranks gives for each what that rank's own trace gives, or is refused."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.trace.merged_ranks import Event, document, labelled, offset, rank_events
from trace_timing.api.analysis.analyze import analyze
from trace_timing.api.analysis.worker import Outcome, Settings, analyze_trace
from trace_timing.api.output.annotate import annotate
from trace_timing.stats.trace.trace_result import TraceResult, TraceSource
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, StageMap, read_stage_map

RANKS = [rank_events(), rank_events(pid=4243, shift_us=7)]


def write(path: Path, events: list[Event]) -> Path:
    path.write_text(json.dumps(document(events)))
    return path


def outcome(tmp_path: Path, events: list[Event], stages: StageMap = DEFAULT_STAGES) -> Outcome:
    path = write(tmp_path / "trace.json", events)
    source = TraceSource(location=str(path), name="trace.json", sample_id="s")
    return analyze_trace(source, Settings(stages=stages, debug=True))


def result(tmp_path: Path, events: list[Event], stages: StageMap = DEFAULT_STAGES) -> TraceResult:
    found = outcome(tmp_path, events, stages)
    assert found.result, found.rejection
    return found.result


def rows(table: pa.Table, rank: int) -> list[dict[str, Any]]:
    """Of one rank, without what says which rank and trace it is."""
    return [
        {k: v for k, v in row.items() if k not in ("rank", "warnings")}
        for row in table.to_pylist()
        if row["rank"] == rank
    ]


@pytest.mark.parametrize(
    "merged",
    [
        labelled(RANKS[0], "[TP00]") + labelled(RANKS[1], "[TP01]"),
        offset(RANKS[0], 0) + offset(RANKS[1], 1),
        RANKS[0] + rank_events(pid=4243, shift_us=7, first_id=901),
    ],
    ids=["labels", "offsets", "ids"],
)
def test_every_table_has_each_ranks_rows_as_its_own_trace_gives_them(
    tmp_path: Path, merged: list[Event]
) -> None:
    together = result(tmp_path, merged)
    assert [(run.repeat, run.rank) for run in together.runs] == [(0, 0), (0, 1)]
    for rank, events in enumerate(RANKS):
        alone = result(tmp_path, events)
        for name, table in alone.tables.items():
            assert rows(together.tables[name], rank) == rows(table, 0), name
    assert all(check.holds for run in together.runs for check in run.checks)
    assert all(check.holds for check in together.summary.checks)


def test_the_ranks_are_named_in_a_warning(tmp_path: Path) -> None:
    merged = labelled(RANKS[0], "[TP02]") + labelled(RANKS[1], "[TP05]")
    said = result(tmp_path, merged).summary.warnings[0]
    assert said.code == "several_processes"
    assert said.evidence == "rank 2: process [TP02] 4242; rank 5: process [TP05] 4243"


def test_a_helper_thread_takes_its_own_processs_stage(tmp_path: Path) -> None:
    helped = [
        rank_events(launching_thread=777),
        rank_events(pid=4243, shift_us=60, launching_thread=777),
    ]
    both = labelled(helped[0], "[TP00]") + labelled(helped[1], "[TP01]")
    together = result(tmp_path, both)
    for rank, events in enumerate(helped):
        alone = result(tmp_path, events)
        assert rows(together.tables["stages"], rank) == rows(alone.tables["stages"], 0)
    borrowed = [w for w in together.summary.warnings if w.code == "launched_by_other_thread"]
    assert [(d.rank, d.evidence) for d in borrowed] == [(0, "9 ops"), (1, "9 ops")]


def test_steps_without_numbers_are_counted_in_each_process(tmp_path: Path) -> None:
    ranks = [rank_events(numbered=False), rank_events(pid=4243, shift_us=7, numbered=False)]
    merged = labelled(ranks[0], "[TP00]") + labelled(ranks[1], "[TP01]")
    stages = tmp_path / "stages.toml"
    stages.write_text('[stages]\ndecode = "decode"')
    in_turn = sorted(merged, key=lambda e: e["ts"])
    steps = result(tmp_path, in_turn, read_stage_map(stages)).tables["steps"].to_pylist()
    found = [(row["rank"], row["step"], row["gpu_ops"]) for row in steps]
    assert found == [(rank, step, 2) for rank in (0, 1) for step in (1, 2, 3)]


def test_runs_of_each_rank_are_numbered_from_0(tmp_path: Path) -> None:
    again = [
        rank_events(shift_us=500, first_id=301),
        rank_events(pid=4243, shift_us=507, first_id=301),
    ]
    merged = labelled(RANKS[0] + again[0], "[TP00]") + labelled(RANKS[1] + again[1], "[TP01]")
    runs = result(tmp_path, merged).runs
    assert [(run.sample_id[-2:], run.rank) for run in runs] == [
        ("#0", 0), ("#1", 0), ("#0", 1), ("#1", 1)
    ]  # fmt: skip
    assert {run.repeat for run in runs} == {0}
    assert {run.window_ns for run in runs} == {129_000}


def test_ranges_of_one_process_do_not_time_what_another_launched(tmp_path: Path) -> None:
    launches = [
        {**e, "pid": 999, "tid": 999} if e["cat"] == "cuda_runtime" else e for e in RANKS[0]
    ]
    refused = outcome(tmp_path, launches).rejection
    assert refused
    assert "ranges: 4242; GPU ops: 999" in refused.reason
    # Nor is a rank that has both taken for the owner of the other's ops.
    mixed = labelled(launches, "[TP00]") + labelled(RANKS[1], "[TP01]")
    refused = outcome(tmp_path, mixed).rejection
    assert refused
    assert "ranges: [TP00] 4242; GPU ops: [TP00] 999" in refused.reason


def test_a_process_with_nothing_to_time_is_no_rank(tmp_path: Path) -> None:
    other = [{**e, "pid": 7, "tid": 7} for e in RANKS[0] if e["name"] == "cudaDeviceSynchronize"]
    other = [{**e, "args": {"correlation": 5}} for e in other]
    found = result(tmp_path, RANKS[0] + other)
    alone = result(tmp_path, RANKS[0])
    assert rows(found.tables["stages"], found.runs[0].rank) == rows(alone.tables["stages"], 0)


def test_what_is_not_told_is_a_rejection_with_the_reason(tmp_path: Path) -> None:
    refused = outcome(tmp_path, [*RANKS[0], *RANKS[1]]).rejection
    assert refused
    assert "does not tell whose each GPU op is" in refused.reason
    assert "by itself" in refused.remedy


def test_a_record_of_the_trace_does_not_give_two_ranks_one_key(tmp_path: Path) -> None:
    path = write(tmp_path / "t.json", labelled(RANKS[0], "[TP00]") + labelled(RANKS[1], "[TP01]"))
    source = TraceSource(location=str(path), name="t", sample_id="s", repeat=3, rank=0)
    found = analyze_trace(replace(source, record=None), Settings(debug=True)).result
    assert found
    assert [(run.repeat, run.rank) for run in found.runs] == [(3, 0), (3, 1)]


def test_the_report_compares_the_ranks_and_annotates_each(tmp_path: Path) -> None:
    path = write(tmp_path / "t.json", labelled(RANKS[0], "[TP00]") + labelled(RANKS[1], "[TP01]"))
    analysis = analyze(path)
    ranks = analysis.tables["ranks"].to_pylist()
    assert {row["stage"]: row["ranks"] for row in ranks} == {"prefill": 2, "decode": 2, "other": 2}
    assert [detail.run.rank for detail in analysis.details] == [0, 1]
    (copy,) = annotate([str(path)], tmp_path / "out")
    events = json.loads(gzip.decompress(copy.read_bytes()))["traceEvents"]
    ours = {e["pid"] for e in events if e["pid"] in (900_000_000, 900_000_001)}
    assert len(ours) == 2
