"""A capture directory is whole at any instant, and a resume mends what a kill left."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trace_timing.errors import TraceError, UsageError
from trace_timing.recording.storage.directory import (
    PARTIAL,
    StorageError,
    finished,
    open_directory,
    read_records,
    write_whole,
)
from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import ControlTimes, RunRecord


def recorded(sample: str, *, trace: str | None = None, **more: object) -> RunRecord:
    return RunRecord(
        sample_id=sample,
        role="recorded",
        repeat=0,
        trace=trace,
        sha256={"json.gz": "0"} if trace else {},
        **more,  # type: ignore[arg-type]
    )


def control(sample: str, index: int = 0, *, planned: int = 1, bare: bool = False, **more: object):
    times = ControlTimes(total_ns=1, index=index, bare=bare)
    return RunRecord(
        sample_id=sample,
        role="control",
        repeat=0,
        control=times,
        machine={"planned_controls": planned},
        **more,  # type: ignore[arg-type]
    )


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """The system refuses files that grow past `size`, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_second_capture_into_one_directory_is_refused(tmp_path: Path) -> None:
    open_directory(tmp_path).append([recorded("a")])
    with pytest.raises(UsageError, match="holds a capture already"):
        open_directory(tmp_path)


def test_two_ranks_write_two_files(tmp_path: Path) -> None:
    for rank in (0, 1):
        open_directory(tmp_path, rank=rank).append([recorded("a", rank=rank)])
    assert sorted(p.name for p in tmp_path.glob("*.jsonl")) == [
        "runs.rank0.jsonl",
        "runs.rank1.jsonl",
    ]


def test_a_torn_last_line_is_no_record(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.append([recorded("a")])
    with directory.runs.open("ab") as file:
        file.write(b'{"sample_id":"b","ro')
    assert [r.sample_id for r in read_records(directory.runs)] == ["a"]
    again = open_directory(tmp_path, resume=True)
    again.append([recorded("b")])
    assert [r.sample_id for r in read_records(again.runs)] == ["a", "b"]


@pytest.mark.parametrize(
    "group",
    [
        [recorded("a", status="failed", reason="x")],
        [control("a", planned=2)],
        [control("a", planned=2), control("a", 1, status="failed", reason="x")],
        [control("a", planned=2), control("a", 1, planned=2, bare=True)],
        [recorded("a", trace="gone")],
    ],
    ids=["failed", "a control short", "a control failed", "a bare control", "trace is gone"],
)
def test_what_is_not_finished_is_forgotten_on_resume(tmp_path: Path, group: list) -> None:
    directory = open_directory(tmp_path)
    directory.append(group)
    directory.append([recorded("b"), control("b")])
    again = open_directory(tmp_path, resume=True)
    assert {r.sample_id for r in read_records(again.runs)} == {"b"}
    assert finished(again) == {("recorded", "b", 0), ("control", "b", 0)}


def test_controls_and_recorded_runs_are_done_apart(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.append([control("a", planned=2), control("a", 1, planned=2)])
    directory.append([recorded("b")])
    directory.append([recorded("a", status="failed", reason="x")])
    again = open_directory(tmp_path, resume=True)
    assert finished(again) == {("control", "a", 0), ("recorded", "b", 0)}
    assert [(r.role, r.sample_id) for r in read_records(again.runs)] == [
        ("control", "a"),
        ("control", "a"),
        ("recorded", "b"),
    ]


def test_a_capture_of_an_older_format_is_not_gone_on_with(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.write_manifest(Manifest(format_version=1))
    directory.runs.write_text("old\n")
    with pytest.raises(UsageError, match="older trace-timing"):
        open_directory(tmp_path, resume=True)
    assert directory.runs.read_text() == "old\n"


def test_a_capture_of_a_newer_format_is_not_gone_on_with(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.write_manifest(Manifest(format_version=99))
    with pytest.raises(TraceError, match="or a newer one"):
        open_directory(tmp_path, resume=True)


def test_files_that_no_record_names_are_removed_on_resume(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    for name in ("a-1.r0.k0.json.gz", f"b-2.r0.k0.json{PARTIAL}", "c-3.r0.k1.json.gz"):
        (directory.traces / name).write_bytes(b"x")
    directory.append([recorded("a", trace="a-1.r0.k0")])
    open_directory(tmp_path, resume=True)
    # The last belongs to another rank, which may be writing it now.
    assert sorted(p.name for p in directory.traces.iterdir()) == [
        "a-1.r0.k0.json.gz",
        "c-3.r0.k1.json.gz",
    ]


def test_a_full_disk_leaves_the_records_before_it(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.append([recorded("a")])
    before = directory.runs.read_bytes()
    with room_for(len(before) + 40), pytest.raises(StorageError, match="the disk is full"):
        directory.append([recorded("b")])
    assert directory.runs.read_bytes() == before


def test_a_full_disk_leaves_the_old_manifest(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.write_manifest(Manifest(tool_version="old"))
    with room_for(20), pytest.raises(StorageError, match="--resume"):
        directory.write_manifest(Manifest(tool_version="new"))
    found = directory.read_manifest()
    assert found is not None
    assert found.tool_version == "old"
    assert not list(tmp_path.glob(f"*{PARTIAL}"))


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot write"):
        open_directory(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot write"):
        write_whole(tmp_path / "none" / "file", b"")


def test_ranks_that_work_together_resume_what_all_of_them_have(tmp_path: Path) -> None:
    directories = [open_directory(tmp_path, rank=rank) for rank in (0, 1)]
    for directory in directories:
        directory.append([recorded("a", rank=directory.rank)])
    directories[0].append([recorded("b", rank=0)])
    again = [open_directory(tmp_path, rank=rank, together=2, resume=True) for rank in (0, 1)]
    assert [len(read_records(directory.runs)) for directory in again] == [1, 1]
    assert finished(again[0], together=2) == {("recorded", "a", 0)}


def test_a_sample_that_another_rank_did_is_done(tmp_path: Path) -> None:
    open_directory(tmp_path, rank=1).append([recorded("a", rank=1)])
    assert finished(open_directory(tmp_path, rank=0)) == {("recorded", "a", 0)}
