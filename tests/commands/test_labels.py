"""`trace-timing analyze --labels … --by …` as a user runs it on the sample traces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "sample_traces"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trace_timing", "analyze", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    done = run(
        SAMPLES, "-o", folder / "report", "--labels", folder / "labels.parquet",
        "--by", "n_images,n_text_tokens", "--no-report",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def rows(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "labels.parquet").set_index("sample_id")


@pytest.fixture(scope="module")
def steps(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "labels.steps.parquet")


@pytest.fixture(scope="module")
def samples(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "report" / "samples.parquet").set_index("sample_id")


def test_features_are_the_metadata_that_was_recorded(rows: pd.DataFrame) -> None:
    assert rows.index.tolist() == ["short", "medium", "long"]
    assert rows["n_vision_tokens"].tolist() == [576, 576, 576]
    assert rows["n_text_tokens"].tolist() == [4, 10, 57]
    assert rows["input_tokens"].tolist() == [580, 586, 633]
    assert rows["decode_steps"].tolist() == [3, 11, 19]


def test_targets_are_the_sample_tables(rows: pd.DataFrame, samples: pd.DataFrame) -> None:
    for name in ("T_vision_total", "T_LLM_prefill", "T_decode_per_token", "T_total"):
        for kind in ("", "_busy"):
            column = f"{name}{kind}_ms"
            assert rows[column].tolist() == samples.loc[rows.index, column].tolist()


def test_one_repeat_has_no_interval(rows: pd.DataFrame) -> None:
    assert rows["repeats"].tolist() == [1, 1, 1]
    for name in ("T_LLM_prefill", "T_decode_per_token", "T_total"):
        assert rows[[f"{name}_lo_ms", f"{name}_hi_ms"]].isna().all(axis=None)


def test_whether_a_row_is_usable_is_said(rows: pd.DataFrame) -> None:
    assert rows["usable"].all()
    assert rows["usable_decode"].all()
    assert rows["reasons"].tolist() == ["", "", ""]


def test_a_row_a_step_has_position_cache_length_and_times(
    rows: pd.DataFrame, steps: pd.DataFrame, out: Path
) -> None:
    assert steps.groupby("sample_id").size().to_dict() == rows["decode_steps"].to_dict()
    short = steps[steps["sample_id"] == "short"]
    assert short["position"].tolist() == [1, 2, 3]
    assert short["kv_length"].tolist() == [581, 582, 583]
    assert short["n_text_tokens"].tolist() == [4, 4, 4]
    table = pd.read_parquet(out / "report" / "steps.parquet")
    known = table[(table["sample_id"] == "short") & (table["stage"] == "decode")]
    for name in ("window", "busy"):
        expected = (known[f"{name}_ns"].astype(float) / 1e6).tolist()
        assert short[f"{name}_ms"].tolist() == expected
    assert steps["usable"].all()


def test_summaries_are_grouped_by_both_columns(out: Path, samples: pd.DataFrame) -> None:
    table = pd.read_csv(out / "report" / "summaries.csv")
    total = table[table["time"] == "T_total_ms"]
    assert total[["n_images", "n_text_tokens", "n"]].values.tolist() == [
        [1, 4, 1],
        [1, 10, 1],
        [1, 57, 1],
    ]
    expected = samples.sort_values("n_text_tokens")["T_total_ms"]
    assert total["median_ms"].tolist() == pytest.approx(expected.tolist())


def test_the_noise_floor_and_the_growth_are_said_in_a_line_each(out: Path) -> None:
    said = (out / "said").read_text()
    assert said.count("Noise floor: controls of one input differ by ") == 1
    assert said.count("GPU busy time with size: prefill ") == 1
    summary = json.loads((out / "report" / "summary.json").read_text())
    assert {floor["figure"] for floor in summary["noise_floor"]} == {
        "total", "vision", "prefill", "decode"
    }  # fmt: skip
    assert {row["against"] for row in summary["scaling"]} == {
        "input_tokens", "position", "kv_length"
    }  # fmt: skip


def test_a_column_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    done = run(SAMPLES, "-o", tmp_path / "out", "--by", "colour", "--no-report")
    assert done.returncode == 2
    assert "no column colour to group by" in done.stderr
    assert "n_text_tokens" in done.stderr


def test_a_trace_of_one_token_gives_no_decode_label_and_says_why(
    tmp_path: Path, h200: Path
) -> None:
    """Ranges of others have no token counts, and a run without decode ranges no decode."""
    from tests.commands.one_token import without_decode

    trace = without_decode(h200 / "llava_llama1b_user_scope.json.gz", tmp_path / "one.json.gz")
    done = run(trace, "-o", tmp_path / "out", "--labels", tmp_path / "l.parquet", "--no-report")
    assert done.returncode == 0, done.stderr
    (row,) = pd.read_parquet(tmp_path / "l.parquet").to_dict("records")
    assert (row["usable"], row["usable_decode"]) == (True, False)
    assert row["reasons"] == "no_decode_step"
    assert np.isnan(row["T_decode_per_token_ms"])
    assert len(pd.read_parquet(tmp_path / "l.steps.parquet")) == 0


def test_labels_in_the_output_folder_come_with_it_and_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "trace_timing", "analyze", SAMPLES, "-o", out, "--no-report"]
    subprocess.run([*command, "--labels", out / "labels.parquet"], check=True, capture_output=True)
    known = json.loads((out / "summary.json").read_text())["files"]
    assert {"labels.parquet", "labels.steps.parquet"} <= set(known)
    subprocess.run([*command, "--by", "n_images"], check=True, capture_output=True)
    assert (out / "labels.parquet").exists()
    subprocess.run(command, check=True, capture_output=True)
    assert not (out / "summaries.csv").exists()
    assert (out / "labels.parquet").exists()
