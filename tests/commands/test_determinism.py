"""Outputs are the same bytes whatever the processes, time zone, locale and hash seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow
#: Of a machine in Germany, of one without a locale at all, of one in Turkey.
SURROUNDINGS = (
    {"TZ": "Europe/Berlin", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"},
    {"TZ": "Asia/Kolkata", "LC_ALL": "C", "PYTHONHASHSEED": "1", "PYTHONUTF8": "0",
     "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"},
    {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8",
     "PYTHONHASHSEED": "4242"},
)  # fmt: skip
JOBS = ("1", "2", "3")


def outputs(folder: Path, jobs: str, surroundings: dict[str, str]) -> dict[str, bytes]:
    """Every file that an analysis writes, by name, and what it prints; at a place of its own."""
    folder.mkdir()
    shutil.copytree(REPOSITORY / "sample_traces", folder / "traces")
    for source in ("ranks", "graphs"):
        shutil.copytree(REPOSITORY / "tests" / "data" / "why" / source, folder / source)
    environment = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "TZ")}
    command = ["analyze", "traces", "ranks", "graphs", "-o", "report", "--no-cache", "--annotate"]
    command += ["--by", "n_images", "--json", "--jobs"]
    done = subprocess.run(
        [sys.executable, "-m", "trace_timing", *command, jobs],
        cwd=folder, env={**environment, "PYTHONPATH": str(REPOSITORY), **surroundings},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    files = [path for path in (folder / "report").rglob("*") if path.is_file()]
    written = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}
    return {**written, "stdout": done.stdout}


def test_outputs_are_byte_identical(tmp_path: Path) -> None:
    first, *others = (
        outputs(tmp_path / f"run{number}", jobs, surroundings)
        for number, (jobs, surroundings) in enumerate(zip(JOBS, SURROUNDINGS, strict=True))
    )
    assert {"report/report.html", "report/samples.csv", "report/summary.json"} <= set(first)
    for other in others:
        assert set(other) == set(first)
        for name in first:
            assert other[name] == first[name], name
