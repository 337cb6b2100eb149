"""The latency-model benchmark labels samples three ways, and goes on where it was ended."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.capture]


def label(folder: Path, samples: int) -> str:
    command = [sys.executable, "-m", "benchmarks.latency_model", "--tiny", "-o", str(folder)]
    command += ["--samples", str(samples), "--runs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_resumed_run_labels_the_samples_that_are_missing(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    label(tmp_path, 2)
    assert "1/1" in label(tmp_path, 3)
    older = json.loads((tmp_path / "subtraction.json").read_text())["per_sample_results"]
    captured = pd.read_csv(tmp_path / "captured.csv")
    truth = pd.read_csv(tmp_path / "truth.csv")
    ids = set(captured["sample_id"])
    assert len(captured) == len(older) == 3
    assert {row["sample_id"] for row in older} == ids
    # Two controls beside other tests may differ by more than a label may; no other reason is right.
    assert set(captured.loc[~captured["usable"], "reasons"]) <= {"controls_interval_wide"}
    assert set(captured["latency_source"]) == {"control"}
    assert (truth.groupby(["sample_id", "half"]).size() == 2).all()
    assert truth["sample_id"].nunique() == 3
    assert_sums(captured, truth, {row["sample_id"]: row for row in older})
    identity = json.loads((tmp_path / "identity.json").read_text())
    for name, digest in identity["sha256"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def assert_sums(captured: Any, truth: Any, older: dict[str, Any]) -> None:
    parts = truth["T_prefill_total_ms"] + truth["T_LLM_decode_ms"]
    assert (parts <= truth["T_total_ms"]).all()
    for row in older.values():
        left = row["T_total"] - row["T_vision_total"] - row["T_LLM_prefill"]
        assert row["T_LLM_decode"] == max(0.0, left)
        assert row["T_decode_per_token"] == row["T_LLM_decode"] / row["output_tokens"]
    tokens = captured["sample_id"].map({name: row["output_tokens"] for name, row in older.items()})
    assert (captured["decode_steps"] == tokens - 1).all()
