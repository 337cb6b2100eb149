"""A trace of a capture is read from inside it alone, and only if it is what was recorded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from trace_timing.api.analysis.analyze import analyze
from trace_timing.api.output.annotate import annotate
from trace_timing.errors import TraceError
from trace_timing.trace.files.store import write_store
from trace_timing.trace.kineto.reader import read_trace

SHORT = "short-f9b0078b.r0.k0"
MEDIUM = "medium-c082456a.r0.k0"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    folder = tmp_path / "capture"
    shutil.copytree(REPOSITORY / "sample_traces", folder)
    return folder


def traces(capture: Path, name: str, ending: str = "json.gz") -> Path:
    return capture / "traces" / f"{name}.{ending}"


def edit_records(capture: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change the record of the recorded run of `short`."""
    file = capture / "runs.rank0.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        if record["sample_id"] == "short" and record["trace"]:
            change(record)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def refused(capture: Path, **options: object) -> dict[str, str]:
    """Reason by source."""
    analysis = analyze(capture, **options)  # type: ignore[arg-type]
    assert all(rejection.remedy for rejection in analysis.rejections)
    return {rejection.source: rejection.reason for rejection in analysis.rejections}


def test_swapped_files_are_found(capture: Path) -> None:
    short, medium = traces(capture, SHORT), traces(capture, MEDIUM)
    aside = capture / "aside"
    short.rename(aside)
    medium.rename(short)
    aside.rename(medium)
    found = refused(capture)
    assert set(found) == {f"traces/{short.name}", f"traces/{medium.name}"}
    assert all("not the file that was recorded" in reason for reason in found.values())


@pytest.mark.parametrize("cached", [False, True])
def test_an_edited_file_is_found_also_where_its_result_was_cached(
    capture: Path, tmp_path: Path, cached: bool
) -> None:
    cache = tmp_path / "cache" if cached else None
    assert refused(capture, cache=cache) == {}
    trace = traces(capture, SHORT)
    trace.write_bytes(trace.read_bytes() + b"\0")
    assert set(refused(capture, cache=cache)) == {f"traces/{trace.name}"}


@pytest.mark.parametrize("name", ["../outside", "../traces/../../outside", "..", "a\0b"])
def test_a_record_cannot_name_a_file_outside(capture: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(traces(capture, SHORT), tmp_path / "outside.json.gz")
    edit_records(capture, lambda record: record.update(trace=name))
    (reason,) = refused(capture).values()
    assert "names a trace outside the capture directory" in reason


def test_an_absolute_path_is_refused(capture: Path, tmp_path: Path) -> None:
    shutil.copy(traces(capture, SHORT), tmp_path / "outside.json.gz")
    edit_records(capture, lambda record: record.update(trace=str(tmp_path / "outside")))
    (reason,) = refused(capture).values()
    assert "names a trace outside the capture directory" in reason


def test_a_link_out_is_refused_and_one_within_is_not(capture: Path, tmp_path: Path) -> None:
    trace, outside = traces(capture, SHORT), tmp_path / "outside.json.gz"
    trace.rename(outside)
    trace.symlink_to(outside)
    assert list(refused(capture).values()) == [
        "a link leads out of the capture directory: traces are read from inside it alone"
    ]
    trace.unlink()
    within = capture / "traces" / "within"
    outside.rename(within)
    trace.symlink_to(within)
    assert refused(capture) == {}


def test_a_linked_folder_of_traces_is_refused(capture: Path, tmp_path: Path) -> None:
    (capture / "traces").rename(tmp_path / "elsewhere")
    (capture / "traces").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TraceError):
        annotate([str(capture)], tmp_path / "annotated")


def test_a_record_without_a_sha256_says_nothing_of_a_file(capture: Path) -> None:
    edit_records(capture, lambda record: record.update(sha256={}))
    (reason,) = refused(capture).values()
    assert "its record has no sha256 of it" in reason


def test_what_lies_beside_the_recorded_file_is_not_read(capture: Path) -> None:
    other = traces(capture, SHORT, "parquet")
    write_store(read_trace(traces(capture, MEDIUM)), other)
    before = analyze(REPOSITORY / "sample_traces").stages
    assert analyze(capture).stages.equals(before)


def test_an_annotated_copy_is_of_the_recorded_file_alone(capture: Path, tmp_path: Path) -> None:
    shutil.copy(traces(capture, MEDIUM), traces(capture, SHORT))
    with pytest.raises(TraceError, match="not the file that was recorded"):
        annotate([str(capture)], tmp_path / "annotated")


def test_a_file_named_by_itself_needs_no_record(capture: Path) -> None:
    shutil.copy(traces(capture, MEDIUM), traces(capture, SHORT))
    assert analyze(traces(capture, SHORT)).rejections == ()
