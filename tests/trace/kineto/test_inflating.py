"""What a file may inflate to, and what is no gzip data."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from tests.trace.kineto_files import CALL, KERNEL
from trace_timing.api.analysis.worker import Settings, analyze_trace
from trace_timing.errors import TraceError
from trace_timing.stats.trace.trace_result import TraceSource
from trace_timing.trace.kineto import inflating
from trace_timing.trace.kineto.reader import read_trace


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """A trace that inflates to some 900 times its size."""
    path = tmp_path / "bomb.json.gz"
    text = json.dumps({"note": " " * 4_000_000, "traceEvents": [CALL, KERNEL]})
    path.write_bytes(gzip.compress(text.encode(), 9))
    return path


def test_a_file_that_inflates_out_of_proportion_is_refused(
    bomb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflating, "FREE_BYTES", 1 << 20)
    with pytest.raises(TraceError, match="inflates to more than 100 times its size") as caught:
        read_trace(bomb)
    assert "--max-inflation" in caught.value.remedy


def test_more_can_be_allowed(bomb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating, "FREE_BYTES", 1 << 20)
    assert len(read_trace(bomb, max_inflation=2000).events) == 2
    source = TraceSource(location=str(bomb), name=bomb.name, sample_id="s")
    assert analyze_trace(source, Settings()).rejection
    assert analyze_trace(source, Settings(max_inflation=2000)).result


def test_a_small_file_may_inflate_as_it_likes(bomb: Path) -> None:
    assert len(read_trace(bomb).events) == 2


@pytest.mark.parametrize("seed", range(60))
def test_damaged_gzip_data_is_refused_in_words(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    text = json.dumps({"traceEvents": [{**CALL, "name": f"n{i}"} for i in range(200)]})
    data = bytearray(gzip.compress(text.encode()))
    data[rng.randrange(10, len(data))] ^= 1 << rng.randrange(8)
    path = tmp_path / "trace.json.gz"
    path.write_bytes(data)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert caught.value.remedy
