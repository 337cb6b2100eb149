"""Files that a reader sees whole or not at all, and what killed writers leave."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from trace_timing import atomic_write
from trace_timing.atomic_write import remove_abandoned, replacing, write_whole


def killed_while_writing(path: Path) -> None:
    with replacing(path) as partial:
        partial.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def kill_a_writer(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=killed_while_writing, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            assert path.read_text() == "old"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["one"]
    assert path.read_text() == "old"
    write_whole(path, b"new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("one", "new")]


def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_live_ones_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "one [1]*"
    kill_a_writer(path)
    kill_a_writer(tmp_path / "another")
    assert len(list(tmp_path.iterdir())) == 2
    with replacing(path) as first, replacing(path) as second:
        assert first.exists()
        first.write_text("first")
        second.write_text("second")
        assert len(list(tmp_path.glob("*.partial"))) == 3  # these and another's
    remove_abandoned(tmp_path.glob(".*.partial"))
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(path.name, "first")]


def test_a_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = atomic_write.sync, Path.replace
    monkeypatch.setattr(
        atomic_write, "sync", lambda p: (done.append(f"sync {p.is_dir()}"), sync(p))
    )
    monkeypatch.setattr(Path, "replace", lambda p, to: (done.append("name"), replace(p, to)))
    write_whole(tmp_path / "one", b"x")
    assert done == ["sync False", "name", "sync True"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "one", b"x")
