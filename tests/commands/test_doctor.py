"""`trace-timing doctor` where there is no GPU; what it finds on one, only one can show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trace_timing.records.manifest import HardwareRates

torch = pytest.importorskip("torch")
RATES = HardwareRates(copy_bytes_per_s=3.8e12, matmul_flops_per_s=7e14, matmul_dtype="bfloat16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says something else on a GPU")
def test_it_says_that_there_is_no_gpu_and_measures_no_rates(tmp_path: Path) -> None:
    output = tmp_path / "rates.json"
    command = [sys.executable, "-m", "trace_timing", "doctor", "--rates", "--json", "-o", output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 1, "what was asked for could not be done"
    assert told["rates"] is None
    assert not output.exists()
    assert any(
        f["subject"] == "GPU" and "none" in f["message"] for f in told["diagnosis"]["findings"]
    )
    assert "no GPU here" in done.stderr


def test_rates_are_shown_in_the_units_that_data_sheets_have(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from trace_timing.commands.doctor import _show
    from trace_timing.recording.doctor.checks import Diagnosis

    _show(Diagnosis(findings=(), environment={}), RATES)
    said = capsys.readouterr().out
    assert "a copy within the device: 3,800 GB/s" in said
    assert "large bfloat16 matrices: 700 TFLOP/s" in said
