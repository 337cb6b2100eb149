"""Rates of a device: work done ÷ the least time it took."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from trace_timing.recording.doctor import rates  # noqa: E402

pytestmark = pytest.mark.capture


def test_rates_are_work_over_the_least_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([4.0, 2.0, 3.0, 0.5, 0.25, 1.0])
    monkeypatch.setattr(rates, "_seconds", lambda work, device: next(seconds))
    found = rates.measure_rates(
        torch.device("cpu"), torch.float32, copy_bytes=1000, width=10, repeats=3
    )
    assert found.copy_bytes_per_s == 2 * 1000 / 2.0
    assert found.matmul_flops_per_s == 2 * 10**3 / 0.25
    assert found.matmul_dtype == "float32"


def test_a_cpu_has_rates_too() -> None:
    found = rates.measure_rates(
        torch.device("cpu"), torch.float32, copy_bytes=1 << 20, width=64, repeats=2
    )
    # Slower than any machine that runs PyTorch, faster than none.
    assert 1e7 < found.copy_bytes_per_s < 1e13
    assert 1e6 < found.matmul_flops_per_s < 1e14
