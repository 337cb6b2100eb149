"""`trace-timing compare` as a user runs it, on recorded traces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trace_timing", "compare", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def told(h200: Path) -> dict[str, object]:
    user, full = h200 / "llava_llama1b_user_scope.json.gz", h200 / "llava_llama1b_cpu_cuda.json.gz"
    done = run(user, full, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)["comparison"]
    return result


def test_one_run_a_side_cannot_tell_and_says_so(told: dict[str, object]) -> None:
    rows = told["rows"]
    assert isinstance(rows, list)
    assert {row["verdict"] for row in rows} <= {"cannot tell", "withheld"}
    decode = next(row for row in rows if row["name"] == "decode")
    assert decode["reason"]
    assert decode["a_ms"] > 0


def test_the_text_names_both_sides(h200: Path) -> None:
    trace = h200 / "llava_llama1b_user_scope.json.gz"
    done = run(trace, trace, "--fail-on", "decode > 5%")
    assert done.returncode == 0, done.stderr
    assert "B against A" in done.stdout
    assert "cannot tell: decode > 5.00%" in done.stdout


def test_an_unreadable_bound_is_wrong_use(tmp_path: Path) -> None:
    done = run(tmp_path, tmp_path, "--fail-on", "quickly")
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
