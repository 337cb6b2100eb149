"""The benchmarks run from one command, at sizes too small to say anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fresh import Budget, repeated, with_children
from benchmarks.generator import grow_trace, write_trace
from tests.paths import REPOSITORY
from trace_timing.api.analysis.analyze import analyze
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.kineto.reader import read_trace

pytestmark = pytest.mark.slow
SHORT = next((REPOSITORY / "sample_traces" / "traces").glob("short*.json.gz"))


def run(module: str, *arguments: str, output: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", module, *arguments, "--runs", "1", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    (written,) = output.glob("*.json")
    assert (output / f"{written.stem}.html").exists()
    found: dict[str, Any] = json.loads(written.read_text())
    return found


def test_reading_is_compared_on_real_grown_and_generated_traces(tmp_path: Path) -> None:
    grown = ("--grow", str(SHORT), "0.5", "--generate", "0.5")
    found = run("benchmarks.read", str(SHORT), *grown, output=tmp_path)
    assert [f["file"].split("_")[0] for f in found["files"]] == [
        SHORT.name,
        SHORT.name.removesuffix(".json.gz"),
        "generated",
    ]
    for file in found["files"]:
        assert {"ours", "bare msgspec", "json.load"} <= {
            name for name, figure in file["readers"].items() if figure.get("seconds")
        }
        assert file["ours_processor_over_bare"] > 0


def test_scale_measures_events_samples_and_workers(tmp_path: Path) -> None:
    found = run(
        "benchmarks.scale",
        *("--events", "2000", "--samples", "4", "--workers", "3", "--no-report"),
        output=tmp_path,
    )
    assert found["events"][0]["us_per_event"] > 0
    (samples,) = found["samples"]
    assert samples["ms_per_sample"] > 0
    assert samples["all_processes_mb"] > 50
    assert [row["workers"] for row in found["workers"]] == [1, 2]
    assert all(row["seconds"] > 0 for row in found["workers"])


def test_a_spent_budget_leaves_out_the_rest() -> None:
    assert "left out" in repeated(lambda: {"seconds": 1.0}, 3, Budget(0))["failed"]
    assert repeated(lambda: {"seconds": 1.0}, 3, Budget(1))["runs"] == 3
    failed = with_children([sys.executable, "-c", "import sys; sys.exit('no such thing')"])
    assert failed == {"failed": "no such thing"}


@pytest.mark.parametrize("cpu_ops", [False, True])
def test_generated_traces_are_sound(tmp_path: Path, cpu_ops: bool) -> None:
    path = tmp_path / "generated.json.gz"
    assert write_trace(path, count=15_000, cpu_ops=cpu_ops) == 15_000
    (run,) = lay_out(read_trace(path)).runs
    assert {run.keys[key].stage for key in run.ops.key} == {"prefill", "decode"}


def test_a_grown_trace_is_its_source_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "grown.json.gz"
    grow_trace(SHORT, path, 20)
    once, grown = read_trace(SHORT), read_trace(path)
    length = len(once.events)
    assert len(grown.events) > 2 * length
    again = grown.events.start_ns[length : 2 * length] - once.events.start_ns
    assert set(again.tolist()) == {10_000_000_000}
    assert len(analyze(path).runs) == 3
