"""How busy the host is, by what its kernel says."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from trace_timing.recording.profiling.machine_state import host_load

pytestmark = pytest.mark.capture


def test_load_pressure_and_steal_are_read(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "loadavg").write_text("1.25 0.80 0.40 3/200 12345\n")
    (tmp_path / "pressure" / "cpu").write_text(
        "some avg10=94.57 avg60=78.72 avg300=42.79 total=191484293\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
    (tmp_path / "stat").write_text("cpu  35778 25355 16088 63986 567 0 270 637 0 0\ncpu0 1 2\n")
    assert host_load(tmp_path) == {
        "load_1m": 1.25,
        "psi_cpu_some_10s": 94.57,
        "steal_ticks": 637,
    }


def test_what_the_kernel_does_not_say_is_null(tmp_path: Path) -> None:
    (tmp_path / "loadavg").write_text("0.5 0.4 0.3 1/2 3\n")
    (tmp_path / "stat").write_text("cpu  1 2 3\n")
    assert host_load(tmp_path) == {"load_1m": 0.5, "psi_cpu_some_10s": None, "steal_ticks": None}
