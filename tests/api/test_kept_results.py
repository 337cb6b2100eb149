"""With a cache, what was analysed once is not analysed again, and nothing stale is ever read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from trace_timing import schema
from trace_timing.api.analysis import executor, result_cache
from trace_timing.api.analysis.analyze import analyze

SAMPLES = REPOSITORY / "sample_traces"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    folder = tmp_path / "capture"
    shutil.copytree(SAMPLES, folder)
    return folder


@pytest.fixture
def analysed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the traces that are analysed from here on."""
    names: list[str] = []

    def noting(sources: Any, *arguments: Any, **options: Any) -> Any:
        names.extend(source.name for _, source in sources)
        return spread(sources, *arguments, **options)

    spread: Callable[..., Any] = executor.spread
    monkeypatch.setattr("trace_timing.api.analysis.analyze.spread", noting)
    return names


def test_the_second_analysis_reads_results_and_says_the_same(
    capture: Path, tmp_path: Path, analysed: list[str]
) -> None:
    first = analyze(capture, cache=tmp_path / "cache")
    assert len(analysed) == 3
    second = analyze(capture, cache=tmp_path / "cache")
    assert len(analysed) == 3
    assert second.summary() == first.summary()
    assert [d.run for d in second.details] == [d.run for d in first.details]
    for name in schema.TABLES:
        assert second.tables[name].equals(first.tables[name]), name


def test_a_trace_that_changed_is_analysed_again(
    capture: Path, tmp_path: Path, analysed: list[str]
) -> None:
    analyze(capture, cache=tmp_path / "cache")
    (changed, *_) = sorted((capture / "traces").glob("*.json.gz"))
    changed.write_bytes(changed.read_bytes())  # the same, but later
    analyze(capture, cache=tmp_path / "cache")
    assert sorted(analysed[3:]) == [f"traces/{changed.name}"]


def test_results_of_other_code_are_not_read(
    capture: Path, tmp_path: Path, analysed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    analyze(capture, cache=tmp_path / "cache")
    monkeypatch.setattr(result_cache, "_code", lambda: "the next version")
    analyze(capture, cache=tmp_path / "cache")
    assert len(analysed) == 6


def test_without_a_cache_everything_is_analysed(capture: Path, analysed: list[str]) -> None:
    analyze(capture)
    analyze(capture)
    assert len(analysed) == 6


def test_a_cache_that_cannot_be_written_is_no_failure(capture: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_text("a file where the folder should be")
    assert len(analyze(capture, cache=cache).run_summaries) == 3


def _kernel(us: int) -> str:
    ranged = '{"ph": "X", "cat": "user_annotation", "name": "%s", "pid": 1, "tid": 1, %s}'
    events = [
        ranged % ("generate", '"ts": 5000.0, "dur": 90.5'),
        ranged % ("prefill", '"ts": 5001.0, "dur": 80.5'),
        '{"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1, "tid": 1, '
        '"ts": 5002.0, "dur": 2.5, "args": {"correlation": 1}}',
        '{"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": 5010.0, '
        f'"dur": {us}.5, "args": {{"correlation": 1, "device": 0, "stream": 7}}}}',
    ]
    return '{"traceEvents": [' + ", ".join(events) + "]}"


def _busy_ns(trace: Path, cache: Path) -> int:
    return int(analyze(trace, cache=cache).stages["busy_ns"].sum())


@pytest.mark.parametrize("how", ["edited", "replaced"])
def test_an_edit_is_seen_that_leaves_size_and_times_as_they_were(tmp_path: Path, how: str) -> None:
    trace, cache = tmp_path / "trace.json", tmp_path / "cache"
    for us in (20, 30, 40):
        before = trace.stat() if trace.exists() else None
        written = trace if how == "edited" else tmp_path / "other.json"
        written.write_text(_kernel(us))
        written.replace(trace)
        if before:
            os.utime(trace, ns=(before.st_atime_ns, before.st_mtime_ns))
            after = trace.stat()
            assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        assert _busy_ns(trace, cache) == us * 1_000 + 500
