"""Integrity on traces that were recorded: sound ones pass, and changed ones are told."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.paths import REPOSITORY
from trace_timing.api.analysis.worker import Settings, analyze_trace
from trace_timing.stats.trace.trace_result import TraceResult, TraceSource
from trace_timing.timeline.integrity.table import FAILING

OWN = sorted(
    file
    for folder in ("sample_traces", "tests/data/device_bound", "tests/data/why")
    for ending in ("*.json.gz", "*.parquet")
    for file in (REPOSITORY / folder).rglob(ending)
)
#: What recorded traces are named for: known, and no fault that spoils a label.
KNOWN = {"no_generate", "rounded_to_us", "profiler_overhead", "slow_launches"}


def result(path: Path) -> TraceResult:
    source = TraceSource(location=str(path), name=path.name, sample_id="x")
    outcome = analyze_trace(source, Settings())
    assert outcome.result is not None, outcome.rejection
    return outcome.result


def codes(made: TraceResult, level: str = "") -> set[str]:
    """Codes of what did not pass; of one level where it is given."""
    each = [*made.summary.checked, *(r for run in made.runs for r in run.checked)]
    return {r.code for r in each if r.level != "PASS" and level in ("", r.level)}


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.name)
def test_our_own_recordings_have_no_fault(path: Path) -> None:
    assert codes(result(path)) <= {"profiler_overhead"}


def test_recordings_of_others_are_named_for_what_they_are(shared: Path) -> None:
    for path in sorted((shared / "traces").glob("*/*.json.gz")):
        assert codes(result(path)) <= KNOWN, path.name


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("05_one_correlation_for_all", "shared_launch"),
        ("06_kernel_ts0", "zero_timestamp"),
        ("07c_dur_overflows_next", "corrupt_durations"),
        ("07d_last_dur_corrupt", "op_after_sync"),
        ("08_generate_zero_length", "zero_length_range"),
        ("08b_decode3_zero_length", "zero_length_range"),
        ("28b_ranges_zero", "range_at_zero"),
        ("29_decode2_missing", "step_missing"),
        ("51c_kernel_ts0_no_ranges", "zero_timestamp"),
    ],
)
def test_reported_situations_fail(shared: Path, case: str, expected: str) -> None:
    path = shared / "cases" / f"{case}.json"
    if not path.is_file():
        pytest.skip("no cases beside the recorded traces")
    assert expected in codes(result(path), "FAIL")


def test_the_baseline_of_the_situations_passes(shared: Path) -> None:
    path = shared / "cases" / "00_baseline.json"
    if not path.is_file():
        pytest.skip("no cases beside the recorded traces")
    assert codes(result(path)) == set()


Events = list[dict[str, Any]]
DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")


def _ops(events: Events) -> Events:
    return sorted((e for e in events if e.get("cat") in DEVICE), key=lambda e: e["ts"])


def _launches(events: Events) -> dict[int, dict[str, Any]]:
    calls = [e for e in events if "cuda" in str(e.get("cat")) and e["cat"] not in DEVICE]
    return {e["args"]["correlation"]: e for e in calls if "correlation" in e.get("args", {})}


def _remove(events: Events, some: Events) -> None:
    gone = {id(event) for event in some}
    events[:] = [event for event in events if id(event) not in gone]


def _named(events: Events, name: str) -> dict[str, Any]:
    return next(e for e in events if e.get("name") == name and e["cat"] == "user_annotation")


def far_kernel(events: Events) -> None:
    _ops(events)[2000]["ts"] += 1e9


def far_last_kernel(events: Events) -> None:
    _ops(events)[-1]["ts"] += 1e9


def long_last_kernel(events: Events) -> None:
    _ops(events)[-1]["dur"] += 20_000


def shifted_later(events: Events) -> None:
    for op in _ops(events):
        op["ts"] += 500


def shifted_earlier(events: Events) -> None:
    for op in _ops(events):
        op["ts"] -= 500


def twice(events: Events) -> None:
    events += [dict(op) for op in _ops(events)]


def lost_op(events: Events) -> None:
    events.remove(_ops(events)[3000])


def lost_head(events: Events) -> None:
    ops, launches = _ops(events)[:400], _launches(events)
    _remove(events, [*ops, *(launches[op["args"]["correlation"]] for op in ops)])


def lost_step(events: Events) -> None:
    step, launches = _named(events, "decode[2]"), _launches(events)
    for op in _ops(events):
        launch = launches[op["args"]["correlation"]]
        if step["ts"] <= launch["ts"] < step["ts"] + step["dur"]:
            op["gone"] = launch["gone"] = True
    _remove(events, [event for event in events if "gone" in event])


def lost_range(events: Events) -> None:
    events.remove(_named(events, "decode[2]"))


def lost_last_range(events: Events) -> None:
    events.remove(_named(events, "decode[3]"))


def lost_first_range(events: Events) -> None:
    events.remove(_named(events, "prefill"))


def one_name_for_two(events: Events) -> None:
    _named(events, "decode[3]")["name"] = "decode[2]"


def no_generate(events: Events) -> None:
    events.remove(_named(events, "generate"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (far_kernel, "absurd_wait"),
        (far_last_kernel, "absurd_wait"),
        (long_last_kernel, "op_after_sync"),
        (shifted_later, "op_after_sync"),
        (shifted_earlier, "op_before_launch"),
        (twice, "doubled_events"),
        (lost_op, "lost_ops"),
        (lost_step, "stage_without_ops"),
        (lost_range, "step_missing"),
        (lost_last_range, "step_missing"),
        (lost_first_range, "prefill_missing"),
        (one_name_for_two, "step_repeated"),
    ],
)
def test_a_recording_with_a_fault_fails(
    change: Callable[[Events], None], expected: str, tmp_path: Path
) -> None:
    made = result(_changed(change, tmp_path))
    assert expected in codes(made, "FAIL")
    said = {warning.code for w in (made.summary, *made.runs) for warning in w.warnings}
    assert expected in said & FAILING
    assert all(expected in run.faults for run in made.recorded)


@pytest.mark.parametrize(
    ("change", "expected"), [(lost_head, "late_first_launch"), (no_generate, "no_generate")]
)
def test_a_recording_with_a_lesser_fault_is_named_for_it(
    change: Callable[[Events], None], expected: str, tmp_path: Path
) -> None:
    made = result(_changed(change, tmp_path))
    assert codes(made) == {expected}
    assert codes(made, "FAIL") == set()
    assert all(run.faults == () for run in made.recorded)


def _changed(change: Callable[[Events], None], folder: Path) -> Path:
    original = next(p for p in OWN if p.name.startswith("short-"))
    document = json.loads(gzip.decompress(original.read_bytes()))
    change(document["traceEvents"])
    path = folder / "changed.json"
    path.write_text(json.dumps(document))
    return path


def test_processes_of_one_trace_are_told_apart(tmp_path: Path) -> None:
    from trace_timing.stats.trace.several_processes import joined

    good, bad = result(OWN[0]), result(_changed(twice, tmp_path))
    good = replace(good, tables={})
    both = joined([good, replace(bad, tables={})], ["11", "12"])
    doubled = next(r for r in both.summary.checked if r.code == "doubled_events")
    assert doubled.level == "FAIL"
    assert doubled.evidence.startswith("process 12: ")
