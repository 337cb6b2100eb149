"""Intervals of a median: by hand, by coverage, and what computing them loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.paths import SAMPLE_TRACES
from trace_timing.stats.methods.intervals import median_interval


def test_eight_values_by_hand() -> None:
    """Least to greatest covers 1 − 2/2⁸, the next inward 1 − 18/2⁸: λ = 7 s ÷ (1 + 6 s)."""
    s = (0.9921875 - 0.95) / 0.0625
    weight = 7 * s / (1 + 6 * s)
    found = median_interval(np.array([1, 2, 4, 8, 16, 32, 64, 128.0]))
    assert found is not None
    assert found.low == pytest.approx(1 + weight)
    assert found.high == pytest.approx(128 - 64 * weight)


@pytest.mark.parametrize("n", range(6))
def test_fewer_than_six_values_have_none(n: int) -> None:
    assert median_interval(np.arange(float(n))) is None


def test_equal_values_have_no_width() -> None:
    found = median_interval(np.full(7, 3.0))
    assert found is not None
    assert (found.low, found.high) == (3, 3)


@pytest.mark.parametrize("n", [6, 7, 10, 40])
@pytest.mark.parametrize(
    ("draw", "median"),
    [
        (lambda rng, n: rng.normal(0, 1, n), 0.0),
        (lambda rng, n: rng.standard_t(2, n), 0.0),
        (lambda rng, n: rng.exponential(1, n), np.log(2)),
    ],
    ids=["normal", "heavy-tailed", "skewed"],
)
def test_covers_95_percent_whatever_the_distribution(
    draw: Callable[[np.random.Generator, int], np.ndarray[tuple[int], np.dtype[np.float64]]],
    median: float,
    n: int,
) -> None:
    rng = np.random.default_rng(n)
    found = [median_interval(draw(rng, n)) for _ in range(2_000)]
    covered = np.mean([f is not None and median in f for f in found])
    assert 0.935 <= covered <= 0.97


def test_analyzing_a_few_samples_loads_no_scipy(tmp_path: Path) -> None:
    """`scipy.stats` takes half a second to import, `scipy.special` a tenth of a small analysis."""
    program = (
        "import sys; from trace_timing.commands import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('scipy' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "analyze",
            str(SAMPLE_TRACES),
            "-o",
            str(tmp_path / "report"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False True"
