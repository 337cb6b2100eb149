"""The fit in the how-to runs as it stands, on the sample traces."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from trace_timing.api.analysis import analyze
from trace_timing.stats.labels import label_rows

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def test_the_ten_lines_fit_both_models(tmp_path: Path) -> None:
    analysis = analyze(ROOT / "sample_traces")
    made = label_rows(analysis.samples, analysis.steps)
    made.samples.to_parquet(tmp_path / "labels.parquet")
    made.steps.to_parquet(tmp_path / "labels.steps.parquet")
    text = (ROOT / "docs" / "howto-label-a-latency-model.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 4
    assert said[0] == "usable: 100% of samples, 100% of steps"
    # What the page quotes is what its code says.
    assert all(f"\n{line}\n" in text for line in said)


def test_a_refused_row_is_counted_with_its_reason(tmp_path: Path) -> None:
    analysis = analyze(ROOT / "sample_traces")
    samples = analysis.samples
    samples.loc[samples["sample_id"] == "short", "doubts"] = "lost_ops"
    made = label_rows(samples, analysis.steps)
    made.samples.to_parquet(tmp_path / "labels.parquet")
    made.steps.to_parquet(tmp_path / "labels.steps.parquet")
    text = (ROOT / "docs" / "howto-label-a-latency-model.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "usable: 67% of samples, 91% of steps" in done.stdout
    assert "why not: {'lost_ops': 1}" in done.stdout
