"""`trace-timing doctor TRACE`: each check of a trace with its evidence; exit code 1 on a FAIL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.paths import REPOSITORY

SAMPLES = REPOSITORY / "sample_traces"


def doctor(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trace_timing", "doctor", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_sound_trace_passes_and_each_check_says_what_it_looked_at() -> None:
    done = doctor(next((SAMPLES / "traces").glob("short-*")))
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith("PASS  short-f9b0078b.r0.k0.json.gz: ")
    assert all(line.startswith("  PASS  ") for line in lines)
    assert "  PASS  lost_ops: 6216 launches in the trace" in lines


def test_of_a_capture_what_passed_is_counted_and_tokens_are_known() -> None:
    done = doctor(SAMPLES)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    told = json.loads(doctor(SAMPLES, "--json").stdout)
    assert {one["level"] for one in told} == {"PASS"}
    tokens = [r for one in told for r in one["checks"] if r["code"] == "tokens_not_steps"]
    assert any("4 output tokens, 3 decode steps" in r["evidence"] for r in tokens)


def test_a_trace_that_is_refused_fails_with_its_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"traceEvents": [')
    done = doctor(broken)
    assert done.returncode == 1
    assert "FAIL  refused: " in done.stdout
    assert "do: " in done.stdout


def test_rates_are_of_the_machine_and_not_of_a_trace() -> None:
    done = doctor(SAMPLES, "--rates")
    assert done.returncode == 2
    assert "leave the traces out" in done.stderr
