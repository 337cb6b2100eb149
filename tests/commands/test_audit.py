"""`trace-timing audit` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from tests.api.made_captures import OLDER
from tests.stats.older_rows import ERRORS, known_rows, older_file
from trace_timing.api.analysis.analyze import analyze
from trace_timing.report.terminal.audit import render
from trace_timing.stats.audit.against_capture import hold_against
from trace_timing.stats.audit.audit import audit
from trace_timing.stats.audit.read_results import read_older
from trace_timing.stats.audit.row_validity import judge

pytestmark = pytest.mark.slow


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trace_timing", "audit", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = [
        {"sample_id": i, "output_tokens": n, "T_vision_total": 40.0, "T_LLM_prefill": 60.0}
        | {"T_LLM_decode": max(0.0, t - 100), "T_total": t}
        for i, (n, t) in enumerate([(1, 90.0), (3, 95.0), (3, 200.0), (5, 300.0)])
    ]
    path = tmp_path / "older.json"
    path.write_text(json.dumps({"tier": "high", "per_sample_results": rows}))
    return path


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    """A report directory of samples 1, 2 and 3: decode 80, sampling 5, rest 3 ms each."""
    folder = tmp_path / "report"
    folder.mkdir()
    times = {"T_vision_total_ms": 41.0, "T_LLM_prefill_ms": 58.0, "T_LLM_decode_ms": 80.0}
    times |= {"T_sampling_ms": 5.0, "T_rest_ms": 3.0, "T_total_ms": 187.0}
    given = {"rank": 0, "latency_source": "control"}
    rows = [{"sample_id": i, **given, **times} for i in ("1", "2", "3")]
    pd.DataFrame(rows).to_parquet(folder / "samples.parquet")
    for name in ("runs", "stages", "steps", "kernels"):
        pd.DataFrame({"sample_id": ["1"]}).to_parquet(folder / f"{name}.parquet")
    return folder


def test_runs_on_the_recorded_files(shared: Path) -> None:
    done = run(*sorted((shared / "legacy").glob("*.json")), "--by", "tier,actual_num_crops")
    assert done.returncode == 0, done.stderr
    assert "35 of 60 rows valid" in done.stdout
    assert "-26.13" in done.stdout
    assert "actual_num_crops = 12" in done.stdout
    assert "\x1b[" not in done.stdout


def test_a_known_file_gives_its_figures(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    path.write_text(json.dumps({"per_sample_results": known_rows()}))
    done = run(path)
    assert done.returncode == 0, done.stderr
    assert "335.32 − 181.28 − 207.17 = -53.13 ms, recorded as 0.00" in done.stdout
    (whole,) = (line for line in done.stdout.splitlines() if line.startswith("all rows"))
    # Rows, valid, with one token, zero, negative, share, mean and range.
    expected = "2000 1543 0 457 457 22.85% -21.73 -53.13 … -0.04"
    assert whole.split()[2:] == expected.split()


@pytest.mark.parametrize(
    ("pattern", "figures"),
    [
        ("*imgsizetier*", "60 35 20 4 4 6.67% -58.46 -143.36 … -22.27"),
        ("*full-forward*", "60 35 20 20 20 33.33% -26.13 -151.92 … -7.59"),
    ],
)
def test_the_recorded_files_give_theirs(shared: Path, pattern: str, figures: str) -> None:
    (path,) = (shared / "legacy").glob(pattern)
    done = run(path, "--by", "actual_num_crops,top_k")
    lines = done.stdout.splitlines()
    (whole,) = (line for line in lines if line.startswith("all rows"))
    assert whole.split()[2:] == figures.split()
    # All negative rows have one token, and no row with one token is valid.
    (one,) = (line.split() for line in lines if line.startswith("output_tokens = 1 "))
    assert one[3:8] == ["20", "0", "20", *figures.split()[3:5]]
    assert sum(line.startswith("actual_num_crops = ") for line in lines) == 12
    assert sum(line.startswith("top_k = ") for line in lines) == 1
    assert any(line.split()[:2] == ["6", "vit_exceeds_vision_total:"] for line in lines)
    assert "steps are N − 1" in done.stdout
    assert "per-token decode divides the time of N − 1 steps by N tokens" in done.stdout


def test_json_holds_every_negative_row(shared: Path) -> None:
    (path,) = (shared / "legacy").glob("*full-forward*")
    (result,) = json.loads(run(path, "--json").stdout)
    assert len(result["negatives"]) == result["overall"]["negative"] == 20
    assert result["overall"]["negative_mean_ms"] == pytest.approx(-26.13, abs=0.005)


def test_the_cleaned_copy_adds_columns_and_leaves_the_original(small: Path, tmp_path: Path) -> None:
    before = small.read_bytes()
    done = run(small, "-o", tmp_path / "out", "--estimate")
    assert done.returncode == 0, done.stderr
    assert small.read_bytes() == before
    cleaned = json.loads((tmp_path / "out" / "older.cleaned.json").read_text())
    assert cleaned["tier"] == "high"
    rows = cleaned["per_sample_results"]
    assert [row["valid"] for row in rows] == [False, False, True, True]
    assert [row["T_LLM_decode_negative"] for row in rows] == [-10, -5, None, None]
    assert [row["T_LLM_decode_estimated"] for row in rows] == [None, 100, None, None]
    assert read_older(tmp_path / "out" / "older.cleaned.json").records[1]["T_LLM_decode"] == 0


def test_a_csv_is_cleaned_into_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "n,T_vision_total,T_LLM_prefill,T_LLM_decode,all\n1,40,60,0,90\n3,40,60,50,150\n"
    )
    done = run(path, "--map", "T_total=all", "--map", "output_tokens=n", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "rows.cleaned.csv")
    assert rows["valid"].tolist() == [False, True]
    assert "parts_exceed_total" in rows["invalid_reasons"][0]


def test_against_holds_decode_to_decode_with_sampling_and_rest(small: Path, captured: Path) -> None:
    older = read_older(small)
    samples = pd.read_parquet(captured / "samples.parquet")
    held = hold_against(older, judge(older), samples, source="report")
    assert (held.matched, held.unmatched) == (3, 1)
    decode = {row.sample_id: row for row in held.rows if row.figure == "T_LLM_decode"}
    assert decode["2"].captured_ms == 88
    assert decode["2"].difference_ms == pytest.approx(12)
    assert [row.valid for row in decode.values()] == [False, True, True]
    done = run(small, "--against", captured)
    assert done.returncode == 0, done.stderr
    assert "3 samples in both, 1 rows without a partner" in done.stdout


def test_against_a_real_capture_shows_each_rows_error(tmp_path: Path) -> None:
    """The older rows are the capture's latencies with stated errors: they come back, row by row.

    Decode is what is left, so it is off by −1 − 2 − 5 = −8 ms; where it clamped, by all of it.
    """
    file = older_file(tmp_path)
    (result,) = json.loads(run(file, "--against", OLDER, "--json").stdout)
    against = result["against"]
    # The worst of the three samples' sources: two have controls of an attached profiler alone.
    assert (against["basis"], against["matched"], against["unmatched"]) == ("attached", 3, 0)
    found = {(r["sample_id"], r["figure"]): r for r in against["rows"]}
    for sample_id, errors in ERRORS.items():
        for figure, error in errors.items():
            assert found[sample_id, figure]["difference_ms"] == pytest.approx(error)
    for sample_id in ("medium", "long"):
        assert found[sample_id, "T_LLM_decode"]["difference_ms"] == pytest.approx(-8)
    clamped = found["short", "T_LLM_decode"]
    assert (clamped["older_ms"], clamped["valid"]) == (0, False)
    latency = analyze(OLDER).samples.set_index("sample_id").loc["short"]
    rest = sum(latency[f"{n}_ms"] for n in ("T_LLM_decode", "T_sampling", "T_rest"))
    assert clamped["difference_ms"] == pytest.approx(-rest)
    valid = {s["figure"]: s for s in against["summaries"] if s["valid_only"]}
    assert valid["T_LLM_decode"]["rows"] == 2
    assert valid["T_LLM_decode"]["median_difference_ms"] == pytest.approx(-8)


def test_against_a_real_capture_is_printed_row_by_row(tmp_path: Path) -> None:
    done = run(older_file(tmp_path), "--against", OLDER)
    assert done.returncode == 0, done.stderr
    assert "held against runs with the profiler attached: too long" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["medium", "+2.00", "+5.00", "-8.00", "-1.00"] in lines
    assert ["long", "+2.00", "+5.00", "-8.00", "-1.00"] in lines
    assert any(
        line[:3] == ["short", "+2.00", "+100.00"] and line[-1] == "invalid" for line in lines
    )


def test_against_other_samples_is_refused(small: Path, captured: Path) -> None:
    samples = pd.read_parquet(captured / "samples.parquet")
    samples["sample_id"] = "other"
    samples.to_parquet(captured / "samples.parquet")
    done = run(small, "--against", captured)
    assert done.returncode == 2
    assert "no sample of older.json is in" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--estimate"], "say where to"),
        (["--map", "T_total"], "write --map"),
        (["--by", "colour"], "has no column colour"),
    ],
)
def test_wrong_use_names_the_remedy(small: Path, arguments: list[str], says: str) -> None:
    done = run(small, *arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_an_absent_file_is_wrong_use(tmp_path: Path) -> None:
    done = run(tmp_path / "none.json")
    assert done.returncode == 2
    assert "does not exist" in done.stderr


def test_the_text_shows_the_arithmetic_of_a_negative_row(small: Path) -> None:
    console = Console(width=120, record=True, file=StringIO())
    console.print(render(audit(read_older(small))))
    assert "90.00 − 40.00 − 60.00 = -10.00 ms, recorded as 0.00" in console.export_text()


def test_an_audit_that_fails_half_way_changes_no_output(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(small, "-o", out).returncode == 0
    (out / "notes.txt").write_text("mine")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    changed = json.loads(small.read_text())
    changed["per_sample_results"].pop()
    small.write_text(json.dumps(changed))
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    assert run(small, bad, "-o", out).returncode != 0
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert run(small, "-o", out).returncode == 0
    after = {file.name: file.read_bytes() for file in out.iterdir()}
    assert after.pop("notes.txt") == b"mine"
    assert all(after[name] != before[name] for name in after)
    assert run(small, "-o", small).returncode == 2
