"""Try one mutant: write it into a copy of the repository, run tests there, put the text back."""

from __future__ import annotations

import compileall
import multiprocessing
import os
import py_compile
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.mutation.mutants import Mutant

Fate = Literal["killed", "timed out", "survived"]
#: A mutant may ask for absurd amounts; other programs need theirs.
MEMORY_BYTES = 12 * 2**30
#: The tests that a mutant is tried on.
QUICK = "not slow and not gpu and not browser"
#: One test of a mutant may loop for ever.
TEST_SECONDS = 60
#: Imported once in the process that trials are forked from. Nothing of this project is: each trial
#: imports it anew, with the mutant.
PRELOADED = ("numpy", "pandas", "pyarrow.compute", "pyarrow.parquet", "scipy.stats", "hypothesis")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one mutant."""

    mutant: Mutant
    fate: Fate
    #: The first failing test.
    by: str | None
    tests: int
    seconds: float


def make_copy(root: Path, folder: Path) -> Path:
    """Copy what git tracks or would add; other checkouts and builds stay out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, check=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    # By hash, not by time: a mutant may be written within the second of the text before it.
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(folder / "trace_timing", quiet=1, invalidation_mode=mode)
    return folder


def run_mutant(
    copy: Path, mutant: Mutant, text: str, stages: Sequence[Sequence[str]], timeout: float
) -> Outcome:
    """Run the stages in turn until a test fails."""
    began, count = time.monotonic(), sum(map(len, stages))
    fate: Fate = "survived"
    by = None
    with _written(copy / mutant.module, text):
        for stage in stages:
            status, by = _run_tests(copy, stage, timeout)
            if status < 0:
                raise RuntimeError(f"{mutant.name}: {by}, which says nothing of the mutant")
            if status:
                fate = "timed out" if by is None else "killed"
                break
            by = None
    seconds = time.monotonic() - began
    return Outcome(mutant=mutant, fate=fate, by=by, tests=count, seconds=round(seconds, 1))


@contextmanager
def _written(path: Path, text: str) -> Iterator[None]:
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


def _run_tests(copy: Path, tests: Sequence[str], timeout: float) -> tuple[int, str | None]:
    """1 where a test failed, and which; 1 and None after a timeout; −1 where pytest itself did."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(list(PRELOADED))
    receiver, sender = forks.Pipe(duplex=False)
    process = forks.Process(target=_in_fork, args=(str(copy), list(tests), sender))
    process.start()
    sender.close()
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
        return 1, None
    if receiver.poll():
        try:
            return receiver.recv()
        except EOFError:
            pass
    # A signal (below 0) is a crash that the mutant caused; else the trial itself went wrong.
    crashed = (process.exitcode or 0) < 0
    return 1 if crashed else -1, f"the process ended with status {process.exitcode}"


def _in_fork(copy: str, tests: list[str], sender: multiprocessing.connection.Connection) -> None:
    assert not any(name.split(".")[0] == "trace_timing" for name in sys.modules)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.dont_write_bytecode = True
    os.chdir(copy)
    for name in [n for n in sys.modules if n.split(".")[0] == "tests"]:
        del sys.modules[name]
    sys.path[:] = [copy, *(p for p in sys.path if p not in ("", copy))]
    shutil.rmtree(".hypothesis", ignore_errors=True)  # what it learnt from another mutant
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    chosen = ChosenTests(tests)
    files = list(dict.fromkeys(test.split("::", 1)[0] for test in tests))
    options = ["-m", QUICK, "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    status = pytest.main([*files, *options, "-o", f"timeout={TEST_SECONDS}"], plugins=[chosen])
    if status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        sender.send((-1, f"pytest ended with status {int(status)}"))
    passed = status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    sender.send((int(not passed), chosen.failed or f"pytest ended with status {int(status)}"))


class ChosenTests:
    """A pytest plugin: run these tests alone, in this order, and note the first that fails."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.order = {test: i for i, test in enumerate(tests)}
        self.failed: str | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Deselect the others."""
        items[:] = sorted(
            (item for item in items if self._place(item) is not None),
            key=lambda item: self._place(item) or 0,
        )

    def _place(self, item: pytest.Item) -> int | None:
        """Of a test by itself, or by its whole module."""
        return self.order.get(item.nodeid, self.order.get(item.nodeid.split("::", 1)[0]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The first failure."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A test module that cannot even be imported is a failure too."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid
