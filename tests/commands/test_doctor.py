"""`trace-timing doctor` where there is no GPU; with one, the benchmark runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says something else on a GPU")
def test_it_says_that_there_is_no_gpu_and_calibrates_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trace_timing", "doctor", "--calibrate", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    assert done.returncode == 1, "what was asked for could not be done"
    assert told["calibration"] is None
    assert any(
        f["subject"] == "GPU" and "none" in f["message"] for f in told["diagnosis"]["findings"]
    )
    assert "no GPU here" in done.stderr
