"""The code of two pages on labels runs as it stands, and says what the pages quote."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "labels.md"
FIT = ROOT / "docs" / "howto-label-a-latency-model.md"
LABELS = ROOT / "benchmarks" / "results" / "2026-11-26-h200-latency-model"


def test_the_pages_lines_read_the_labels(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trace_timing", "analyze", str(ROOT / "sample_traces")]
    subprocess.run([*command, "-o", str(tmp_path / "report"), "--no-report"], check=True)
    text = PAGE.read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "usable: 100% of samples, 100% of steps"
    # What the page quotes is what its code says.
    assert f"```text\n{done.stdout}```" in text


def test_the_fit_of_the_howto_says_what_the_page_quotes(tmp_path: Path) -> None:
    shutil.copytree(LABELS, tmp_path / "latency-model")
    text = FIT.read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[-1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"```text\n{done.stdout}```" in text


def test_the_committed_label_files_are_those_of_their_identity_and_small() -> None:
    identity = json.loads((LABELS / "identity.json").read_text())
    for name, digest in identity["sha256"].items():
        assert hashlib.sha256((LABELS / name).read_bytes()).hexdigest() == digest
    assert sum(path.stat().st_size for path in LABELS.iterdir()) <= 200_000
