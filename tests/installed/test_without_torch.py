"""Where torch is not installed: analysis works, and what needs torch says how to install it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.paths import REPOSITORY, SAMPLE_TRACES

REMEDY = "pip install 'trace-timing[capture]'"
ABSENT = ("torch", "transformers", "accelerate", "PIL", "pillow", "functorch")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every package of this environment but those of the extra `capture`."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("purelib", "platlib"):
        for entry in Path(sysconfig.get_path(name)).iterdir():
            link = folder / entry.name
            if not entry.name.startswith(ABSENT) and not link.exists():
                link.symlink_to(entry)
    return folder


def python(packages: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A Python that knows these packages alone: -S leaves the environment's own folder out."""
    path = f"{REPOSITORY}{os.pathsep}{packages}"
    return subprocess.run(
        [sys.executable, "-S", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_capture_says_what_to_install(packages: Path, tmp_path: Path) -> None:
    more = ("--model", "tiny-llava", "--inputs", "s.jsonl", "-o", tmp_path / "out")
    done = python(packages, "-m", "trace_timing", "capture", *more)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: capture needs torch, which is not installed",
        f"  do:  {REMEDY}",
    ]
    assert python(packages, "-m", "trace_timing", "capture", "--help").returncode == 0


def test_in_python_the_call_says_it_and_help_is_still_there(packages: Path) -> None:
    program = (
        "import pydoc, trace_timing as t\n"
        # From Python 3.14 on a long signature has a line for each argument.
        "page = ''.join(pydoc.plaintext.document(t).split())\n"
        "assert 'trace-timing[capture]' in page and 'analyze(*paths' in page, page\n"
        "from trace_timing import capture\n"
        "try: capture('out', None)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = python(packages, "-c", program)
    assert done.stderr == ""
    message = f"trace_timing.capture needs torch, which is not installed. {REMEDY}"
    assert done.stdout == f"UsageError {message}\n"


@pytest.mark.slow
def test_analysis_and_doctor_work(packages: Path, tmp_path: Path) -> None:
    analysed = python(packages, "-m", "trace_timing", "analyze", SAMPLE_TRACES, "-o", tmp_path)
    assert analysed.returncode == 0, analysed.stderr
    looked = python(packages, "-m", "trace_timing", "doctor")
    assert looked.returncode == 0, looked.stderr
    assert REMEDY in looked.stdout
