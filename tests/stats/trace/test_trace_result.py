"""What one trace yields, on recorded traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.paths import SAMPLE_TRACES
from tests.timeline.building import TraceBuilder
from trace_timing.errors import TraceError
from trace_timing.records.findings import CheckName
from trace_timing.records.runs import RunRecord
from trace_timing.stats.trace.trace_result import TraceResult, TraceSource, result_of, run_keys
from trace_timing.timeline.build.runs import lay_out
from trace_timing.timeline.naming.builtin_maps import auto
from trace_timing.trace.events import Trace, TraceInfo
from trace_timing.trace.files.reading import open_trace

SAMPLES = SAMPLE_TRACES / "traces"


def result(path: Path) -> TraceResult:
    """The result of a trace file."""
    trace = open_trace(path)
    return result_of(trace, lay_out(trace), TraceSource(location="", name="t", sample_id="s"))


def by_stage(found: TraceResult, column: str) -> dict[str, int]:
    """One column of the stage table, by stage."""
    table = found.tables["stages"]
    return dict(zip(table["stage"].to_pylist(), table[column].to_pylist(), strict=True))


def test_a_real_trace_gives_the_windows_computed_from_its_ranges(h200: Path) -> None:
    found = result(h200 / "llava_llama1b_user_scope.json.gz")
    assert by_stage(found, "window_ns") == {
        "vision": 10_208_485,
        "prefill": 18_094_850,
        "decode": 171_364_279,
        "other": 9_080_923,
    }
    assert sum(by_stage(found, "busy_ns").values()) == 27_979_475
    steps = found.tables["steps"].to_pydict()
    busy = dict(zip(steps["step"], steps["busy_ns"], strict=True))
    assert (busy[1], busy[11]) == (1_905_178, 1_900_798)
    assert steps["kernel_sum_ns"][0] == 1_905_981
    assert found.tables["runs"]["T_total_ms"].to_pylist() == [208.748537]


def test_every_check_holds_on_every_recorded_trace_or_it_is_refused(shared: Path) -> None:
    paths = sorted((shared / "traces").rglob("*.json.gz")) + sorted(SAMPLES.glob("*.json.gz"))
    assert len(paths) >= 10
    refused: dict[str, str] = {}
    for path in paths:
        try:
            found = result(path)
        except TraceError as refusal:
            refused[path.name] = refusal.why
            continue
        checks = [check for run in found.runs for check in run.checks] + list(found.summary.checks)
        assert {check.check for check in checks} == set(get_args(CheckName))
        assert [check for check in checks if not check.holds] == [], path.name
    assert all(refused.values())


def calls(count: int, **info: Any) -> Trace:
    """A trace of so many generate() calls."""
    built = TraceBuilder()
    for start in range(0, 100 * count, 100):
        built.range("generate", start, start + 50).range("prefill", start, start + 40)
        built.op(start + 20, start + 30, launch=start + 10)
    return replace(built.trace(), info=TraceInfo(**info))


def keys(trace: Trace, **source: Any) -> list[tuple[str, int | None, int]]:
    given = TraceSource(location="", name="t", sample_id="s", **source)
    found = run_keys(given, lay_out(trace), trace)
    return [(key.sample_id, key.repeat, key.rank) for key in found]


def test_runs_of_a_record_are_repeats_of_its_sample() -> None:
    record = RunRecord(sample_id="s", role="recorded", repeat=4)
    known = {"record": record, "repeat": 4}
    assert keys(calls(3), **known) == [("s", 4, 0), ("s", 5, 0), ("s", 6, 0)]
    assert keys(calls(2), record=record) == [("s", 0, 0), ("s", 1, 0)]


def test_several_runs_in_a_trace_of_others_are_samples_of_their_own() -> None:
    assert keys(calls(1)) == [("s", 0, 0)]
    assert keys(calls(3)) == [("s#0", 0, 0), ("s#1", 0, 0), ("s#2", 0, 0)]


def test_the_rank_is_the_records_else_the_traces_else_none_is_told() -> None:
    assert keys(calls(1, rank=3)) == [("s", 0, 3)]
    assert keys(calls(1, rank=3), rank=2) == [("s", 0, 2)]
    assert keys(calls(1, rank=3, processes=("7",)), rank=2) == [("s", 0, 3)]


def test_the_parts_of_a_run_sum_to_its_total() -> None:
    for path in SAMPLES.glob("*.json.gz"):
        (row,) = result(path).tables["runs"].to_pylist()
        every_step = row["recorded_steps"] == row["decode_steps"]
        assert every_step != path.name.startswith("long"), "12 of its 127 steps were recorded"
        # Vision and prefill are recorded in any case; what the steps were busy is estimated.
        stepped = "_busy" if every_step else "_busy_estimate"
        for kind, of_steps in (("", ""), ("_busy", stepped)):
            parts = [f"{part}{kind}_ms" for part in ("T_vision_total", "T_LLM_prefill")]
            parts += [f"{p}{of_steps}_ms" for p in ("T_LLM_decode", "T_sampling", "T_rest")]
            total = sum(row[part] for part in parts)
            assert total == pytest.approx(row[f"T_total{of_steps}_ms"], abs=1e-9)
        assert (row["T_total_busy_ms"] is None) == (not every_step)
        per_token = row["T_LLM_decode_ms"] / row["decode_steps"]
        assert row["T_decode_per_token_ms"] == pytest.approx(per_token)


def test_a_trace_without_stage_ranges_has_one_row_and_says_why(h200: Path) -> None:
    found = result(h200 / "llava_llama1b_cuda_only_no_ranges.json.gz")
    (row,) = found.tables["stages"].to_pylist()
    assert (row["stage"], row["reason"]) == ("unattributed", "no_stage_ranges")
    assert row["gpu_ops"] == 8_946
    assert [w.code for w in found.summary.warnings] == ["no_stage_ranges"]
    assert found.tables["steps"].num_rows == 0


def test_names_that_do_not_say_their_stage_for_certain_give_a_warning_with_an_example() -> None:
    trace = TraceBuilder().range("execute_new_0_cached_4", 0, 10).op(2, 8, launch=1).trace()
    source = TraceSource(location="", name="t", sample_id="s")
    summary = result_of(trace, lay_out(trace, auto()), source).summary
    (warning,) = [w for w in summary.warnings if w.code == "stage_not_certain"]
    assert warning.evidence.startswith("execute_new_0_cached_4: vLLM before 0.14")
    assert (summary.stage_map, summary.serving) == ("vllm", True)
