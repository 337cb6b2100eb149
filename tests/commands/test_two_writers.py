"""Two captures, or two analyses, into one directory: the second is refused, the first is whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.test_lock import HOLD

SAMPLES = REPOSITORY / "sample_traces"


@contextmanager
def held(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    yield process.pid
    process.communicate()


def analyze(output: Path) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "trace_timing",
        "analyze",
        SAMPLES,
        "--no-report",
        "--no-cache",
    ]
    return [*map(str, command), "--jobs", "1", "-o", str(output)]


def test_an_analysis_into_a_directory_that_another_writes_to_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "report"
    with held(tmp_path / ".report.lock") as pid:
        done = subprocess.run(analyze(output), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"of process {pid} on" in done.stderr
    assert list(tmp_path.iterdir()) == []


def files_in(folder: Path) -> list[Path]:
    return sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())


def test_of_two_analyses_at_once_one_is_refused_and_one_is_whole(tmp_path: Path) -> None:
    output = tmp_path / "report"
    pair = [
        subprocess.Popen(analyze(output), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in pair]
    codes = sorted(process.returncode for process in pair)
    # Where one has ended before the other begins, both are done.
    assert codes in ([0, 2], [0, 0])
    assert codes == [0, 0] or any("is being written to by analyze of process" in s for s in said)
    alone = tmp_path / "alone"
    subprocess.run(analyze(alone), check=True, capture_output=True)
    names = files_in(alone)
    assert files_in(output) == names
    for name in names:
        assert (output / name).read_bytes() == (alone / name).read_bytes(), name


def test_an_analysis_that_finds_nothing_leaves_no_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trace_timing", "analyze", "nothing.json", "-o", "report"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.capture
def test_a_capture_into_a_directory_that_another_writes_to_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tests.recording.models import llava
    from trace_timing import capture
    from trace_timing.errors import UsageError

    with (
        held(tmp_path / ".capture.rank0.lock") as pid,
        pytest.raises(UsageError, match=f"capture of process {pid} on"),
        capture(tmp_path, llava().model),
    ):
        raise AssertionError("it was let in")
    assert not (tmp_path / "manifest.json").exists()
