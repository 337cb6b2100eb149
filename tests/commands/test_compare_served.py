"""`trace-timing compare` on servers' traces, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.served import Forward, write_served


def run(*arguments: object, command: str = "compare") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trace_timing", command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def forwards(slower: float = 1.0) -> list[Forward]:
    """A prompt, then 30 decode steps of two batch sizes."""
    decode = [
        Forward(us=int(us * slower), busy_us=int(us * slower) - 100, generating=size)
        for size, us in ((4, 1000), (8, 1500))
        for _ in range(30)
    ]
    return [Forward(us=4000, busy_us=3000, prompts=1, tokens=64), *decode]


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("served")
    made = {f"before-{i}": write_served(folder / f"b{i}.json", forwards()) for i in range(3)}
    more = {f"after-{i}": write_served(folder / f"a{i}.json", forwards(1.2)) for i in range(3)}
    return {**made, **more}


def several(traces: dict[str, Path]) -> list[object]:
    more = [
        (f"--also-{side[0]}", traces[f"{name}-{i}"])
        for side, name in (("a", "before"), ("b", "after"))
        for i in (1, 2)
    ]
    return [traces["before-0"], traces["after-0"], *(part for pair in more for part in pair)]


def test_one_trace_a_side_names_the_change_and_exits_as_withheld(traces: dict[str, Path]) -> None:
    done = run(
        traces["before-0"], traces["after-0"], "--stages", "auto", "--fail-on", "busy decode > 5%"
    )
    assert done.returncode == 4, done.stderr
    assert "60 forwards a side, 1 and 1 recording)" in done.stdout
    assert "slower, or drift" in done.stdout
    assert "drift between the recordings is not ruled out" in done.stdout
    assert "WITHHELD: busy decode > 5.00%" in done.stdout
    assert "no time to first token" in done.stdout


def test_three_a_side_break_the_bound(traces: dict[str, Path]) -> None:
    done = run(*several(traces), "--stages", "vllm", "--fail-on", "undisturbed decode > 5%")
    assert done.returncode == 1, done.stderr
    assert "3 and 3 recordings" in done.stdout
    assert "FAILS: undisturbed decode > 5.00% (ratio 1.200)" in done.stdout
    assert "batch sizes:" in done.stdout


def test_a_report_of_a_server_compares_with_a_trace(
    traces: dict[str, Path], tmp_path: Path
) -> None:
    made = run(
        traces["before-0"],
        "-o",
        tmp_path / "r",
        "--stages",
        "auto",
        "--no-report",
        command="analyze",
    )
    assert made.returncode == 0, made.stderr
    done = run(tmp_path / "r", traces["before-1"], "--stages", "auto", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["comparison"]
    assert told["subject"] == "steps"
    rows = {row["name"]: row for row in told["rows"]}
    assert rows["decode, batch 4"]["a_ms"] == rows["decode, batch 4"]["b_ms"]
    assert rows["decode"]["ratio"] == 1


def test_a_server_does_not_compare_with_what_is_none(
    traces: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.json"
    other.write_text(traces["before-0"].read_text().replace("execute_context", "run"))
    done = run(traces["before-0"], other, "--stages", "auto")
    assert done.returncode == 2
    assert f"{traces['before-0']} holds forwards of a server, and {other} none" in done.stderr


def test_markdown_is_a_table_and_the_page_is_written(
    traces: dict[str, Path], tmp_path: Path
) -> None:
    done = run(
        *several(traces),
        "--stages",
        "auto",
        "--format",
        "markdown",
        "-o",
        tmp_path / "out",
        "--fail-on",
        "undisturbed decode > 5%",
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "- **FAILS**: undisturbed decode > 5.00% (ratio 1.200)" in lines
    (row,) = (line for line in lines if line.startswith("| undisturbed decode |"))
    assert row.endswith("| **slower** |")
    assert "wrote" in done.stderr
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "busy decode" in page
    assert "or drift" not in page.split("<body")[0]


def test_nothing_to_read_exits_with_three(tmp_path: Path) -> None:
    done = run(tmp_path / "none.json", tmp_path / "none.json")
    assert done.returncode == 3
