"""`trace-timing compare` as a user runs it, on recorded traces."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.stats.compared_tables import report_directory, tables

SAMPLES = Path(__file__).resolve().parents[2] / "sample_traces"


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


def test_three_pairs_are_told_how_many_would_by_the_captures_own_controls() -> None:
    done = run(SAMPLES, SAMPLES)
    assert done.returncode == 0, done.stderr
    assert (
        "decode: 3 pairs cannot tell; controls of one input put their spread at 3.8%, so some 21 "
        "pairs would show a change of 3%."
    ) in done.stdout


def test_one_trace_a_side_is_told_what_to_record(h200: Path) -> None:
    done = run(*(h200 / f"llava_llama1b_{name}.json.gz" for name in ("user_scope", "cpu_cuda")))
    assert "nothing says how runs of one input differ here; capture 4 samples or more" in (
        done.stdout
    )


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """24 samples a side, decode 10 % slower in B; recorded with other versions of torch."""
    folder = tmp_path_factory.mktemp("sides")
    a = replace(tables(1), environment={"torch": "2.11"}, settings={"profile": "ranges"})
    b = replace(tables(2, decode=1.1), environment={"torch": "2.13"}, settings=a.settings)
    return report_directory(folder / "before", a), report_directory(folder / "after", b)


@pytest.mark.parametrize(
    ("bounds", "code", "says"),
    [
        (["decode > 5%"], 1, ["FAILS: decode > 5.00%"]),
        (["decode > 20%"], 0, ["holds: decode > 20.00%"]),
        (["prefill > 5%"], 0, ["holds: prefill > 5.00%"]),
        (["prefill > 5%", "decode>5%"], 1, ["holds: prefill", "FAILS: decode"]),
        (["decode: gemm > 5%"], 1, ["FAILS: decode: gemm"]),
    ],
)
def test_a_bound_that_breaks_exits_with_one(
    sides: tuple[Path, Path], bounds: list[str], code: int, says: list[str]
) -> None:
    gates = [part for bound in bounds for part in ("--fail-on", bound)]
    done = run(*sides, *gates)
    assert done.returncode == code, done.stderr
    assert all(said in done.stdout for said in says)


def test_a_change_shown_is_no_failure_by_itself(sides: tuple[Path, Path]) -> None:
    done = run(*sides)
    assert done.returncode == 0
    assert "differs: environment.torch: 2.11 | 2.13" in done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert lines["decode"].rstrip().endswith("slower")
    assert "decode: ampere_sgemm_32x32" in done.stdout


def test_a_bound_on_nothing_is_wrong_use(sides: tuple[Path, Path]) -> None:
    done = run(*sides, "--fail-on", "decoding > 5%")
    assert done.returncode == 2
    assert "the comparison has total, vision, prefill, decode" in done.stderr


def test_another_profile_mode_withholds_host_times_and_fails_the_bound(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    full = replace(tables(3), environment={"torch": "2.11"}, settings={"profile": "full"})
    other = report_directory(tmp_path / "full", full)
    done = run(sides[0], other, "--fail-on", "decode > 5%")
    assert done.returncode == 1
    assert "differs: settings.profile: ranges | full — withholds host times" in done.stdout
    assert "withheld: settings.profile differs" in done.stdout
    kinds = done.stdout[done.stdout.index("kinds:") :]
    assert "withheld" not in kinds.split("FAILS")[0]


def test_a_page_is_written_on_request(sides: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(*sides, "-o", tmp_path / "out")
    assert done.returncode == 0
    page = (tmp_path / "out" / "compare.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Slower: decode" in page


def test_a_refused_file_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text('{"rows": []}')
    done = run(tmp_path / "wrong.json", SAMPLES)
    assert done.returncode == 3
    assert done.stderr.count("wrong.json") == 1
