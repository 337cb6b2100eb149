"""One writer at a time: the second is told who the first is; a killed one holds nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trace_timing import lock
from trace_timing.errors import UsageError
from trace_timing.lock import locked

HOLD = """
import sys
from pathlib import Path
from trace_timing.lock import locked
with locked(Path(sys.argv[1]), work="capture", directory="traces"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its stdin ends."""
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def hold(path: Path) -> None:
    """Take the lock and give it back."""
    with locked(path, work="analyze", directory="report"):
        assert path.exists()
    assert not path.exists()


def test_the_file_names_its_holder_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with holder(path) as process:
        content = json.loads(path.read_text())
        assert (content["work"], content["pid"]) == ("capture", process.pid)
        assert content["host"] == socket.gethostname()
        process.communicate()  # its stdin ends
        assert process.returncode == 0
        assert not path.exists()


def test_a_second_process_is_refused_with_pid_and_host(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with holder(path) as process, pytest.raises(UsageError) as refused:
        hold(path)
    assert f"capture of process {process.pid} on {socket.gethostname()}" in refused.value.what
    assert "another directory" in refused.value.remedy


def test_a_second_time_in_one_process_is_refused_and_leaves_the_first_its_lock(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.lock"
    with locked(path, work="capture", directory="traces"):
        with pytest.raises(UsageError):
            hold(path)
        command = [sys.executable, "-c", HOLD, str(path)]
        other = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert other.returncode != 0
        assert "UsageError" in other.stderr
    hold(path)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert path.exists()
        hold(path)
    assert not path.exists()


def note(path: Path, **changes: object) -> None:
    """A lock file as another holder may have left it."""
    content = {
        "work": "capture", "pid": os.getpid(), "host": socket.gethostname(),
        "boot": lock._boot(), "began": lock._began(os.getpid()),
    }  # fmt: skip
    path.write_text(json.dumps(content | changes))


@pytest.fixture
def without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks."""
    monkeypatch.setattr(lock, "_lock", lambda descriptor: False)


@pytest.mark.usefixtures("without_kernel")
def test_where_the_kernel_has_no_locks_the_note_decides(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    note(path)
    with pytest.raises(UsageError, match=f"process {os.getpid()} on"):
        hold(path)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    note(path, pid=int(dead.stdout))
    hold(path)
    note(path, began="1")  # its number is another process's by now
    hold(path)


@pytest.mark.parametrize("kernel", [True, False])
def test_a_holder_of_another_boot_is_gone_and_one_of_another_host_is_not_known(
    tmp_path: Path, kernel: bool, request: pytest.FixtureRequest
) -> None:
    if not kernel:
        request.getfixturevalue("without_kernel")
    path = tmp_path / "a.lock"
    note(path, boot="another")
    hold(path)
    note(path, boot="another", host="node17")
    with pytest.raises(UsageError, match="on node17") as refused:
        hold(path)
    assert "remove the file" in refused.value.remedy


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 1}'])
def test_a_damaged_note_holds_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.lock"
    path.write_text(content)
    hold(path)


def test_of_many_at_once_one_has_it_at_a_time(tmp_path: Path) -> None:
    race = """
import sys, time
from pathlib import Path
from trace_timing.errors import UsageError
from trace_timing.lock import locked
folder, won = Path(sys.argv[1]), 0
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        with locked(folder / "a.lock", work="capture", directory="traces"):
            (folder / "in").mkdir()  # fails where two are in
            (folder / "in").rmdir()
            won += 1
    except UsageError:
        pass
print(won)
"""
    command = [sys.executable, "-c", race, str(tmp_path)]
    each = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    won = [process.communicate(timeout=60)[0] for process in each]
    assert [process.returncode for process in each] == [0, 0, 0]
    assert sum(map(int, won)) > 3
