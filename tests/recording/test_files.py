"""A capture directory is whole at any instant, and a resume mends what a kill left."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trace_timing.errors import UsageError
from trace_timing.recording.files import (
    PARTIAL,
    StorageError,
    finished,
    open_directory,
    read_records,
    run_key,
    write_whole,
)
from trace_timing.records import ControlTimes, Manifest, RunRecord


def profiled(sample: str, *, controls: int = 1, trace: str | None = None, **more: object):
    return RunRecord(
        sample_id=sample,
        role="profiled",
        repeat=0,
        trace=trace,
        sha256={"json.gz": "0"} if trace else {},
        machine={"session": {"controls": controls}},
        **more,  # type: ignore[arg-type]
    )


def control(sample: str, index: int = 0, **more: object) -> RunRecord:
    times = ControlTimes(total_ns=1, index=index)
    return RunRecord(sample_id=sample, role="control", repeat=0, control=times, **more)  # type: ignore[arg-type]


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
    open_directory(tmp_path).append([profiled("a")])
    with pytest.raises(UsageError, match="holds a capture already"):
        open_directory(tmp_path)


def test_two_ranks_write_two_files(tmp_path: Path) -> None:
    for rank in (0, 1):
        open_directory(tmp_path, rank=rank).append([profiled("a", rank=rank)])
    assert sorted(p.name for p in tmp_path.glob("*.jsonl")) == [
        "runs.rank0.jsonl",
        "runs.rank1.jsonl",
    ]


def test_a_torn_last_line_is_no_record(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.append([profiled("a", controls=0)])
    with directory.runs.open("ab") as file:
        file.write(b'{"sample_id":"b","ro')
    assert [r.sample_id for r in read_records(directory.runs)] == ["a"]
    again = open_directory(tmp_path, resume=True)
    again.append([profiled("b", controls=0)])
    assert [r.sample_id for r in read_records(again.runs)] == ["a", "b"]


@pytest.mark.parametrize(
    "group",
    [
        [profiled("a", status="failed", reason="x")],
        [control("a")],
        [profiled("a", controls=2), control("a")],
        [profiled("a"), control("a", status="failed", reason="tokens")],
        [profiled("a", trace="gone"), control("a")],
    ],
    ids=["failed", "no profiled run", "a control short", "control failed", "trace is gone"],
)
def test_an_unfinished_group_is_forgotten_on_resume(tmp_path: Path, group: list) -> None:
    directory = open_directory(tmp_path)
    directory.append(group)
    directory.append([profiled("b"), control("b")])
    again = open_directory(tmp_path, resume=True)
    assert {r.sample_id for r in read_records(again.runs)} == {"b"}
    assert finished(again) == {("b", 0)}


def test_files_that_no_record_names_are_removed_on_resume(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    for name in ("a-1.r0.k0.json.gz", f"b-2.r0.k0.json{PARTIAL}", "c-3.r0.k1.json.gz"):
        (directory.traces / name).write_bytes(b"x")
    directory.append([profiled("a", controls=0, trace="a-1.r0.k0")])
    open_directory(tmp_path, resume=True)
    # The last belongs to another rank, which may be writing it now.
    assert sorted(p.name for p in directory.traces.iterdir()) == [
        "a-1.r0.k0.json.gz",
        "c-3.r0.k1.json.gz",
    ]


def test_a_full_disk_leaves_the_records_before_it(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.append([profiled("a")])
    before = directory.runs.read_bytes()
    with room_for(len(before) + 40), pytest.raises(StorageError, match="the disk is full"):
        directory.append([profiled("b")])
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


def test_controls_of_one_repeat_are_different_runs() -> None:
    keys = {run_key(record) for record in (profiled("a"), control("a"), control("a", 1))}
    assert len(keys) == 3


def test_ranks_that_work_together_resume_what_all_of_them_have(tmp_path: Path) -> None:
    directories = [open_directory(tmp_path, rank=rank) for rank in (0, 1)]
    for directory in directories:
        directory.append([profiled("a", controls=0, rank=directory.rank)])
    directories[0].append([profiled("b", controls=0, rank=0)])
    again = [open_directory(tmp_path, rank=rank, together=2, resume=True) for rank in (0, 1)]
    assert [len(read_records(directory.runs)) for directory in again] == [1, 1]
    assert finished(again[0], together=2) == {("a", 0)}


def test_a_sample_that_another_rank_did_is_done(tmp_path: Path) -> None:
    open_directory(tmp_path, rank=1).append([profiled("a", controls=0, rank=1)])
    assert finished(open_directory(tmp_path, rank=0)) == {("a", 0)}
