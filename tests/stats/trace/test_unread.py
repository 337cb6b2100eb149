"""What was not read, or not as it stands, is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trace.kineto_files import CALL, KERNEL, RANGE
from trace_timing.api.analysis.worker import Settings, analyze_trace
from trace_timing.stats.trace.trace_result import TraceResult, TraceSource

MARK = {"ph": "B", "name": "prefill", "pid": 10, "tid": 11, "ts": 99.0}


def result(tmp_path: Path, events: list[dict[str, Any]] | str) -> TraceResult:
    path = tmp_path / "trace.json"
    path.write_text(events if isinstance(events, str) else json.dumps(events))
    source = TraceSource(location=str(path), name=path.name, sample_id="s")
    found = analyze_trace(source, Settings(debug=True)).result
    assert found
    return found


def said(found: TraceResult) -> dict[str, str]:
    warnings = [*found.summary.warnings, *(w for r in found.runs for w in r.warnings)]
    return {w.code: f"{w.evidence} | {w.remedy}" for w in warnings}


def test_events_left_out_are_counted_and_named(tmp_path: Path) -> None:
    bad = {**RANGE, "name": "theirs", "dur": -1.0}
    words = said(result(tmp_path, [RANGE, CALL, KERNEL, bad, bad]))["events_left_out"]
    assert "user_annotation (2)" in words
    assert "'theirs' has dur = -1.0" in words


def test_text_that_was_put_right_is_named(tmp_path: Path) -> None:
    text = json.dumps([RANGE, CALL, {**KERNEL, "name": "a@b"}]).replace("a@b", "a\\xb")
    assert said(result(tmp_path, text))["text_put_right"].startswith("1 texts, the first: a\\xb")


def test_kinds_that_are_not_known_are_named_beside_those_that_are(tmp_path: Path) -> None:
    strange = {**KERNEL, "cat": "npu_kernel"}
    known = [{**CALL, "cat": c} for c in ("python_function", "cpu_op", "Trace", "ac2g")]
    words = said(result(tmp_path, [RANGE, CALL, KERNEL, strange, *known]))
    assert words["unknown_event_kinds"].startswith("npu_kernel (1)")
    assert "unknown_event_kinds" not in said(result(tmp_path, [RANGE, CALL, KERNEL, *known]))


@pytest.mark.parametrize("strange", [{"cat": "npu_kernel"}, {"cat": None}])
def test_a_device_of_unknown_kinds_is_not_taken_for_none(
    tmp_path: Path, strange: dict[str, Any]
) -> None:
    words = said(result(tmp_path, [RANGE, CALL, {**KERNEL, **strange}]))["clock_host"]
    assert "kinds that are not known" in words
    assert "record on a GPU" not in words


def test_a_host_without_device_is_told_to_record_one(tmp_path: Path) -> None:
    assert "record on a GPU" in said(result(tmp_path, [RANGE]))["clock_host"]


def test_lost_ops_are_not_taken_for_no_device(tmp_path: Path) -> None:
    words = said(result(tmp_path, [RANGE, CALL]))["clock_host"]
    assert "the ops of 1 launches are lost" in words
    assert "record on a GPU" not in words


def test_ranges_in_other_forms_are_named(tmp_path: Path) -> None:
    words = said(result(tmp_path, [CALL, KERNEL, MARK]))["no_stage_ranges"]
    assert "1 begin events (ph B)" in words


def test_ops_without_an_id_are_told_from_launches_that_are_missing(tmp_path: Path) -> None:
    args = {"device": 0, "stream": 7}
    words = said(result(tmp_path, [RANGE, {**KERNEL, "args": {**args, "External id": 7}}]))
    assert "1 ops have no correlation id" in words["launch_missing"]
    lost = said(result(tmp_path, [RANGE, {**KERNEL, "args": {**args, "correlation": 7}}]))
    assert "no correlation id" not in lost["launch_missing"]


def test_a_trace_with_no_op_in_a_stage_is_unattributed_as_a_whole(tmp_path: Path) -> None:
    assert result(tmp_path, [RANGE, KERNEL]).summary.all_unattributed
    assert result(tmp_path, [CALL, KERNEL]).summary.all_unattributed
    assert not result(tmp_path, [RANGE, CALL, KERNEL]).summary.all_unattributed
    assert not result(tmp_path, [RANGE]).summary.all_unattributed


def test_steps_that_cross_are_named(tmp_path: Path) -> None:
    steps = [{**RANGE, "name": f"decode[{n}]", "ts": 99.0 + 15 * n} for n in range(1, 11)]
    words = said(result(tmp_path, [*steps, CALL, KERNEL]))["crossing_ranges"]
    assert words.startswith("decode[1] and decode[2] by 5000 ns; ")
    assert "; 3 more" in words
