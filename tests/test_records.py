"""Run records and manifests of both formats are read; a newer one is refused in one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.paths import DATA, SAMPLE_TRACES
from trace_timing.errors import TraceError
from trace_timing.records.encoding import FORMAT_VERSION, encode
from trace_timing.records.findings import IntegrityResult
from trace_timing.records.manifest import Manifest, decode_manifest
from trace_timing.records.runs import ControlTimes, RunRecord, decode_run_record
from trace_timing.records.segments import ControlSegment, PackedSegments, packed

OLD_FORMAT = {
    "sample_id": "s",
    "role": "control",
    "repeat": 0,
    "machine": {"before": {"devices": [{}]}},
}


def old(**control: Any) -> RunRecord:
    line = {**OLD_FORMAT, "control": {"total_ns": 5, "clock": "device", **control}}
    return decode_run_record(json.dumps(line), source="runs")


def cupti_of(record: RunRecord) -> str:
    assert record.control is not None
    return record.control.cupti


@pytest.mark.parametrize("cupti", ["never", "detached", "attached"])
def test_a_record_comes_back_as_it_was_written(cupti: Any) -> None:
    segment = ControlSegment(stage="decode", step=1, duration_ns=5)
    control = ControlTimes(total_ns=5, segments=(segment,), cupti=cupti, index=3)
    record = RunRecord(
        sample_id="s", role="control", repeat=0, control=control, machine={"planned_controls": 4}
    )
    assert decode_run_record(encode(record), source="runs") == record
    recorded = RunRecord(sample_id="s", role="recorded", repeat=1, trace="t", sha256={"a": "b"})
    assert decode_run_record(encode(recorded), source="runs") == recorded


def test_the_older_role_is_a_recorded_run() -> None:
    line = json.dumps({**OLD_FORMAT, "role": "profiled"})
    assert decode_run_record(line, source="runs").role == "recorded"


def test_older_controls_are_attached_but_for_those_before_profiling() -> None:
    assert cupti_of(old(before_profiling=True)) == "never"
    assert cupti_of(old(before_profiling=False)) == "attached"
    assert cupti_of(old()) == "attached"


def test_older_controls_of_a_process_without_a_gpu_never_saw_cupti() -> None:
    line = {**OLD_FORMAT, "machine": {"before": {}}}
    line["control"] = {"total_ns": 5, "clock": "host"}
    assert cupti_of(decode_run_record(json.dumps(line), source="runs")) == "never"
    # The host's clock also times a model over several GPUs.
    assert cupti_of(old(clock="host")) == "attached"


def test_a_damaged_line_names_its_source_and_field() -> None:
    with pytest.raises(TraceError, match=r"runs line 3 is not a valid RunRecord.*repeat"):
        decode_run_record('{"sample_id": "s", "role": "control"}', source="runs line 3")


CAPTURES = [
    SAMPLE_TRACES,
    *(f.parent for f in DATA.glob("**/manifest.json")),
]


@pytest.mark.parametrize("folder", CAPTURES, ids=lambda folder: folder.name)
def test_every_recorded_capture_is_read(folder: Path) -> None:
    manifest = decode_manifest((folder / "manifest.json").read_bytes(), source="manifest.json")
    assert manifest.format_version in (1, FORMAT_VERSION)
    lines = [line for f in folder.glob("*.jsonl") for line in f.read_bytes().splitlines()]
    recorded = 0
    for line in lines:
        told, record = json.loads(line), decode_run_record(line, source="runs")
        recorded += record.role == "recorded"
        if record.control is not None and manifest.format_version == 1:
            expected = "never" if told["control"]["before_profiling"] else "attached"
            assert record.control.cupti == expected
    assert recorded >= 1


def test_a_manifest_of_a_newer_format_is_refused_with_what_to_do() -> None:
    data = json.dumps({"format_version": FORMAT_VERSION + 1, "settings": "of another type"})
    with pytest.raises(TraceError) as caught:
        decode_manifest(data, source="manifest.json")
    assert caught.value.what == f"manifest.json has format version {FORMAT_VERSION + 1}"
    assert "a newer one" in caught.value.remedy


def test_a_manifest_with_fields_of_an_older_version_is_read() -> None:
    data = json.dumps({"format_version": 1, "tool_version": "0.1.0", "old_field": {"a": 1}})
    found = decode_manifest(data, source="manifest.json")
    assert found == Manifest(format_version=1, tool_version="0.1.0")


@pytest.mark.parametrize(
    ("total_ns", "durations_ns", "why"),
    [
        (10, [4, 5], "the control's segments sum to 9 ns, its total is 10"),
        (2**54, [2**53, 2**53], "below 0 or above"),
        (1, [-1, 2], "below 0 or above"),
        (-1, [], "below 0 or above"),
        (10**30, [10**30], "below 0 or above"),
    ],
)
def test_a_control_whose_times_cannot_be_right_is_refused(
    total_ns: int, durations_ns: list[int], why: str
) -> None:
    segments = [["prefill", None, ns] for ns in durations_ns]
    line = {
        "sample_id": "s",
        "role": "control",
        "repeat": 0,
        "control": {"total_ns": total_ns, "segments": segments},
    }
    with pytest.raises(TraceError) as caught:
        decode_run_record(json.dumps(line), source="runs.rank0.jsonl:1")
    assert why in caught.value.why


def test_the_segments_that_were_read_are_those_written_in_whatever_form() -> None:
    made = tuple(
        ControlSegment(stage=stage, step=step, duration_ns=ns)
        for stage, step, ns in [("prefill", None, 7), ("sampling", 0, 2**40), ("decode", 1, 0)]
    )
    held, again = packed(made), PackedSegments(iter(made))
    assert held == made
    assert held == again
    assert held != made[:2]
    assert (held[1], held[-1], held[1:]) == (made[1], made[-1], made[1:])
    assert (len(held), hash(held)) == (3, hash(made))
    assert packed(held) is held
    assert held.course is again.course
    record = RunRecord(
        sample_id="s",
        role="control",
        repeat=0,
        control=ControlTimes(total_ns=2**40 + 7, segments=held),
    )
    assert decode_run_record(encode(record), source="runs") == record


def test_a_form_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="object cannot be stored"):
        encode({"a": object()})


def test_results_of_checks_from_other_processes_share_their_texts() -> None:
    result = IntegrityResult(
        code="few_ops", level="WARN", message="Few ops.", evidence="3", remedy="look", stage=None
    )
    first, second = (pickle.loads(pickle.dumps(result)) for _ in range(2))
    assert first == second == result
    assert first.message is second.message
    assert first.remedy is second.remedy
