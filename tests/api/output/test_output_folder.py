"""An output folder changes as a whole or not at all, whoever is killed when."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.paths import SAMPLE_TRACES
from trace_timing.api.output import output_folder
from trace_timing.api.output.load import load
from trace_timing.api.output.output_folder import SUMMARY, digest, read_verified, whole
from trace_timing.errors import EXIT_USAGE, UsageError

TRACES = sorted((SAMPLE_TRACES / "traces").glob("*.json.gz"))
NAMES = ("samples.parquet", "stages.parquet", "report.html")


def write(
    place: Path, word: str, *, names: tuple[str, ...] = NAMES, in_place: bool = False
) -> None:
    """A small output whose files all hold one word."""
    with whole(place, in_place=in_place) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(word)
        (folder / SUMMARY).write_text(json.dumps({"word": word}))


def words(place: Path) -> dict[str, str]:
    """What its files hold, those of ours."""
    found = {p.name: p.read_text() for p in place.iterdir() if p.is_file()}
    summary = json.loads(found.pop(SUMMARY))
    return {**found, SUMMARY: summary["word"]}


def hidden(*folders: Path) -> list[str]:
    return sorted(p.name for folder in folders for p in folder.glob(".*"))


@pytest.fixture(params=["swapped", "in place", "beside other files"])
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, bool]:
    """A place with an earlier output, and whether the folder itself is to stay."""
    place = tmp_path / "report"
    write(place, "old", names=(*NAMES, "summaries.csv"))
    if request.param == "beside other files":
        (place / "notes.txt").write_text("mine")
    return place, request.param == "in place"


def test_a_new_output_replaces_all_of_the_old_one(earlier: tuple[Path, bool]) -> None:
    place, in_place = earlier
    write(place, "new", in_place=in_place)
    found = words(place)
    assert found.pop("notes.txt", "mine") == "mine"
    assert found == dict.fromkeys((*NAMES, SUMMARY), "new")  # and no old summaries.csv
    assert hidden(place, place.parent) == []


def test_tables_of_the_layout_before_and_of_an_earlier_why_go(earlier: tuple[Path, bool]) -> None:
    place, in_place = earlier
    write(place, "old", names=(*NAMES, "why/idle.parquet", "why/queue.parquet"), in_place=in_place)
    (place / "kinds.parquet").write_text("flat")
    write(place, "new", names=(*NAMES, "why/idle.parquet"), in_place=in_place)
    assert not (place / "kinds.parquet").exists()
    assert {p.name: p.read_text() for p in (place / "why").iterdir()} == {"idle.parquet": "new"}
    write(place, "newer", in_place=in_place)
    assert not (place / "why").exists()
    assert hidden(place, place.parent) == []


def test_files_of_others_in_why_stay(tmp_path: Path) -> None:
    place = tmp_path / "report"
    write(place, "old", names=(*NAMES, "why/idle.parquet"))
    (place / "why" / "mine.txt").write_text("mine")
    write(place, "new")
    assert [p.name for p in (place / "why").iterdir()] == ["mine.txt"]
    assert words(place)[SUMMARY] == "new"


def test_what_fails_leaves_the_old_output(earlier: tuple[Path, bool]) -> None:
    place, in_place = earlier
    before = words(place)

    def fail_half_way() -> None:
        with whole(place, in_place=in_place) as folder:
            (folder / "samples.parquet").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert words(place) == before
    assert hidden(place, place.parent) == []


def killed_at(step: int, place: Path, in_place: bool) -> None:
    """Write, and be killed at the n-th change of a name."""
    left = [step]

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def changing(*arguments: object, **more: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **more)

        return changing

    for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
        setattr(Path, name, counted(getattr(Path, name)))
    output_folder._exchange = counted(output_folder._exchange)
    write(place, "new", in_place=in_place)
    os._exit(0)


def test_a_kill_at_any_step_leaves_an_output_that_is_one(earlier: tuple[Path, bool]) -> None:
    place, in_place = earlier
    seen: list[str] = []
    for step in range(60):
        process = multiprocessing.get_context("fork").Process(
            target=killed_at, args=(step, place, in_place)
        )
        process.start()
        process.join()
        said, files = read_verified(place, NAMES)
        assert {data.decode() for data in files.values()} == {said["word"]}
        seen.append(said["word"])
        assert (place / "notes.txt").exists() == ("notes.txt" in words(place))
        if process.exitcode == 0:
            break
        write(place, "old", names=(*NAMES, "summaries.csv"), in_place=in_place)
        assert hidden(place, place.parent) == []  # what was left is removed
    assert process.exitcode == 0
    assert seen == sorted(seen, reverse=True)  # old until one step, new from there on
    assert seen.count("old") > 1


def test_without_the_exchange_of_folders_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_folder, "_exchange", lambda *_: False)
    place = tmp_path / "report"
    write(place, "old", names=(*NAMES, "annotated/a.annotated.json.gz"))
    assert (place / "annotated").is_dir()
    write(place, "new")
    assert words(place) == dict.fromkeys((*NAMES, SUMMARY), "new")
    assert not (place / "annotated").exists()


def test_the_working_folder_and_a_link_stay_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, link = tmp_path / "report", tmp_path / "link"
    write(place, "old")
    link.symlink_to(place)
    write(link, "linked")
    assert link.is_symlink()
    assert words(place)[SUMMARY] == "linked"
    monkeypatch.chdir(place)
    number = place.stat().st_ino
    write(Path(), "here")
    assert place.stat().st_ino == number
    assert set(words(Path()).values()) == {"here"}
    assert hidden(tmp_path, place) == []


def test_results_kept_for_a_resume_stay(tmp_path: Path) -> None:
    place = tmp_path / "report"
    write(place, "old")
    (place / ".parts").mkdir()
    (place / ".parts" / "x.part").write_text("kept")
    write(place, "new")
    assert (place / ".parts" / "x.part").read_text() == "kept"


def test_files_of_two_analyses_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "report", "old")
    (tmp_path / "report" / "stages.parquet").write_text("of another")
    with pytest.raises(UsageError, match="not of one analysis") as caught:
        read_verified(tmp_path / "report", NAMES)
    assert "stages.parquet" in caught.value.why
    assert "write them again" in caught.value.remedy


def test_compare_reads_no_report_of_two_analyses(tmp_path: Path) -> None:
    place = tmp_path / "report"
    write(
        place, "old", names=("samples.parquet", "runs.parquet", "stages.parquet", "steps.parquet")
    )
    with pytest.raises(UsageError, match="not of one analysis") as caught:
        load(str(place))
    assert "there is no kernels.parquet" in caught.value.why
    tables = ("samples", "runs", "stages", "steps", "kernels")
    write(place, "new", names=tuple(f"{name}.parquet" for name in tables))
    (place / "steps.parquet").write_text("of another")
    with pytest.raises(UsageError, match="not of one analysis") as caught:
        load(str(place))
    assert "steps.parquet" in caught.value.why


def test_a_report_from_before_there_were_digests_is_read(tmp_path: Path) -> None:
    (tmp_path / "samples.parquet").write_text("x")
    (tmp_path / SUMMARY).write_text("{}")
    said, files = read_verified(tmp_path, ["samples.parquet"])
    assert (said, files) == ({}, {"samples.parquet": b"x"})


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError) as caught, whole(place):
            pass
        assert str(place) in caught.value.what
        assert caught.value.remedy


def test_a_full_disk_leaves_the_old_output(
    earlier: tuple[Path, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, in_place = earlier
    before = words(place)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(output_folder, "sync", full)
    with pytest.raises(UsageError, match="the disk is full") as caught:
        write(place, "new", in_place=in_place)
    assert "free some space" in caught.value.remedy
    monkeypatch.undo()
    assert words(place) == before
    assert hidden(place, place.parent) == []


def analyze(*arguments: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trace_timing", "analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload,no-any-return]


def limited_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_analyze_onto_a_full_disk_is_one_error_and_changes_nothing(tmp_path: Path) -> None:
    place = tmp_path / "report"
    assert analyze(TRACES[0], "-o", place, "--no-cache").returncode == 0
    before = digests(place)
    done = analyze(TRACES[1], "-o", place, "--no-cache", preexec_fn=limited_files)
    assert done.returncode == EXIT_USAGE
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert digests(place) == before
    assert hidden(tmp_path) == []


def test_a_place_that_may_not_be_written_is_one_error() -> None:
    place = Path("/proc/self/out")  # nobody can make a folder there
    for command in (["analyze", TRACES[0]], ["compare", TRACES[0], TRACES[1]]):
        arguments = [sys.executable, "-m", "trace_timing", *command, "-o", place]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == EXIT_USAGE, done.stderr
        assert "error: /proc/self/out: cannot be written" in done.stderr
        assert "do:  give a folder that you may write to" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounts a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_small_disk_that_fills_up_and_one_that_is_read_only(small_disk: Path) -> None:
    place = small_disk / "report"
    write(place, "old")
    before = words(place)
    for output in (place, small_disk):  # a folder on it, and the mount point itself
        done = analyze(TRACES[0], "-o", output)
        assert done.returncode == EXIT_USAGE, done.stderr
        assert "the disk is full" in done.stderr
        assert words(place) == before
        assert hidden(small_disk, place) == []
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = analyze(TRACES[0], "-o", place)
    assert done.returncode == EXIT_USAGE
    assert "cannot be written" in done.stderr
    assert "Read-only file system" in done.stderr
    assert read_verified(place, NAMES)[0]["word"] == "old"


def test_a_mount_point_is_written_whole_too(small_disk: Path) -> None:
    write(small_disk, "old")
    write(small_disk, "new")
    assert words(small_disk) == dict.fromkeys((*NAMES, SUMMARY), "new")
    assert hidden(small_disk) == []


def test_analyze_into_a_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = analyze(TRACES[0], "-o", tmp_path / "file")
    assert done.returncode == EXIT_USAGE
    assert "is a file" in done.stderr
    assert (tmp_path / "file").read_text() == "x"


def digests(place: Path) -> dict[str, str]:
    """Of all files but the summary, as they are."""
    paths = [p for p in place.rglob("*") if p.is_file() and not p.name.startswith(".")]
    return {p.relative_to(place).as_posix(): digest(p.read_bytes()) for p in paths}


def assert_one_analysis(place: Path) -> str:
    """Every file is the one that the summary names, and there is no other; its first trace."""
    said = json.loads((place / SUMMARY).read_bytes())
    found = digests(place)
    del found[SUMMARY]
    assert found == said["files"]
    assert {"report.html", "samples.parquet", "samples.csv"} <= set(found)
    name: str = said["traces"][0]["trace"]
    return name


@pytest.mark.slow
def test_killing_analyze_at_any_time_never_mixes_two_analyses(tmp_path: Path) -> None:
    place = tmp_path / "report"
    begun = time.monotonic()
    assert analyze(TRACES[0], "-o", place, "--annotate").returncode == 0
    took = time.monotonic() - begun
    assert assert_one_analysis(place).startswith(TRACES[0].name[:5])
    chosen = random.Random(7)
    for number in range(24):
        trace = TRACES[(number + 1) % 2]
        command = [sys.executable, "-m", "trace_timing", "analyze", trace, "-o", place]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took * chosen.uniform(0.3, 1.05))
        process.kill()
        process.wait()
        assert_one_analysis(place)
        assert len(load(str(place)).samples) == 1
    assert analyze(TRACES[0], "-o", place).returncode == 0
    assert hidden(tmp_path, place) == []
