"""`trace-timing compare` as a user runs it, on recorded traces."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.paths import SAMPLE_TRACES
from tests.stats.compared_tables import report_directory, tables


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


def test_three_samples_are_too_few_and_are_told_how_many_would_do() -> None:
    done = run(SAMPLE_TRACES, SAMPLE_TRACES)
    assert done.returncode == 0, done.stderr
    assert "too few to tell; capture the same 4 samples or more on each side." in done.stdout


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
        (["busy decode > 5%"], 1, ["FAILS: busy decode > 5.00%"]),
        (["busy decode > 20%"], 0, ["holds: busy decode > 20.00%"]),
        (["decode > 5%"], 0, ["cannot tell: decode > 5.00%"]),
        (["busy prefill > 5%", "busy decode>5%"], 1, ["holds: busy prefill", "FAILS: busy decode"]),
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
    busy = next(line for line in done.stdout.splitlines() if line.startswith("busy decode"))
    assert busy.rstrip().endswith("slower")
    assert "cannot tell below" in lines["decode"]
    assert "decode: ampere_sgemm_32x32" in done.stdout


def test_a_bound_on_nothing_is_wrong_use(sides: tuple[Path, Path]) -> None:
    done = run(*sides, "--fail-on", "decoding > 5%")
    assert done.returncode == 2
    assert "the comparison has total, vision, prefill, decode" in done.stderr


def test_further_captures_of_each_side_show_what_one_cannot(tmp_path: Path) -> None:
    made = [report_directory(tmp_path / f"a{i}", tables(i)) for i in range(3)]
    changed = [report_directory(tmp_path / f"b{i}", tables(9 + i, decode=1.1)) for i in range(3)]
    more = [("--also-a", made[1]), ("--also-a", made[2])]
    more += [("--also-b", changed[1]), ("--also-b", changed[2])]
    bound = ("--fail-on", "undisturbed step > 5%")
    done = run(made[0], changed[0], *(part for pair in more for part in pair), *bound)
    assert done.returncode == 1, done.stderr
    assert "latencies, 24 paired samples, 3 and 3 captures" in done.stdout
    assert "FAILS: undisturbed step > 5.00% (ratio 1.099)" in done.stdout
    assert run(made[0], changed[0], *bound).returncode == 0


def test_a_busier_machine_withholds_latencies_and_says_so(tmp_path: Path) -> None:
    a = report_directory(tmp_path / "a", tables(1))
    b = report_directory(tmp_path / "b", tables(2, host=31, launches=31, pressure=60))
    done = run(a, b, "--fail-on", "decode > 5%")
    assert done.returncode == 4
    assert "— withholds host times" in done.stdout
    assert "differs: psi_cpu_some_10s: 2.0 | 60.0 — withholds latencies" in done.stdout
    assert "WITHHELD: decode > 5.00%" in done.stdout
    assert "slower" not in done.stdout


def test_another_profile_mode_withholds_recorded_host_times_and_fails_the_bound(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    full = replace(tables(3), environment={"torch": "2.11"}, settings={"profile": "full"})
    other = report_directory(tmp_path / "full", full)
    done = run(sides[0], other, "--figure", "recorded", "--fail-on", "decode > 5%")
    assert done.returncode == 4
    assert "differs: settings.profile: ranges | full — withholds host times" in done.stdout
    assert "withheld: settings.profile differs" in done.stdout
    kinds = done.stdout[done.stdout.index("kinds:") :]
    assert "withheld" not in kinds.split("WITHHELD")[0]


def test_a_page_is_written_on_request(sides: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(*sides, "-o", tmp_path / "out")
    assert done.returncode == 0
    page = (tmp_path / "out" / "compare.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Slower: busy decode" in page


def test_a_refused_file_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text('{"rows": []}')
    done = run(tmp_path / "wrong.json", SAMPLE_TRACES)
    assert done.returncode == 3
    assert done.stderr.count("wrong.json") == 1
