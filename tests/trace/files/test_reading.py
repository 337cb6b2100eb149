"""One way in: JSON or store, local or remote, cached or not, the trace is the same."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import fsspec
import pytest

from tests.trace.files.test_store import assert_same
from trace_timing.errors import TraceError
from trace_timing.trace.files import cache
from trace_timing.trace.files.cache import open_cached, prune
from trace_timing.trace.files.reading import open_trace
from trace_timing.trace.files.store import write_store
from trace_timing.trace.kineto.reader import read_trace


@pytest.fixture
def recorded(shared: Path, tmp_path: Path) -> Path:
    source = shared / "traces" / "peers" / "tracelens_vllm_decode_graph.json.gz"
    return Path(shutil.copyfile(source, tmp_path / "run.json.gz"))


def test_json_gzip_store_and_url_give_one_trace(recorded: Path, tmp_path: Path) -> None:
    expected = read_trace(recorded)
    (tmp_path / "run.json").write_bytes(gzip.decompress(recorded.read_bytes()))
    write_store(expected, tmp_path / "run.parquet")
    fsspec.filesystem("memory").pipe("/reading/run.json.gz", recorded.read_bytes())
    fsspec.filesystem("memory").pipe("/reading/run", (tmp_path / "run.parquet").read_bytes())
    for form in (
        recorded,
        tmp_path / "run.json",
        tmp_path / "run.parquet",
        f"file://{recorded}",
        "memory://reading/run.json.gz",
        "memory://reading/run",
    ):
        assert_same(open_trace(form), expected)


def test_a_store_gives_cpu_ops_only_if_it_was_made_with_them(
    recorded: Path, tmp_path: Path
) -> None:
    write_store(read_trace(recorded, cpu_ops=True), tmp_path / "with.parquet")
    write_store(read_trace(recorded), tmp_path / "without.parquet")
    full = read_trace(recorded, cpu_ops=True)
    assert_same(open_trace(tmp_path / "with.parquet", cpu_ops=True), full)
    assert_same(open_trace(tmp_path / "with.parquet"), read_trace(recorded))
    with pytest.raises(TraceError, match="no CPU ops"):
        open_trace(tmp_path / "without.parquet", cpu_ops=True)


@pytest.mark.parametrize("path", ["/nowhere/x.json", "memory://nowhere/x.json", "nosuch://x.json"])
def test_what_cannot_be_opened_is_an_error_with_a_remedy(path: str) -> None:
    with pytest.raises(TraceError, match="cannot be read") as caught:
        open_trace(path)
    assert caught.value.remedy


def test_the_second_reading_comes_from_the_cache(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_trace(recorded)
    assert_same(open_cached(recorded, tmp_path / "cache"), expected)

    def must_not_read(*_: object, **__: object) -> None:
        raise AssertionError("read the JSON again")

    with monkeypatch.context() as patch:
        patch.setattr(cache, "open_trace", must_not_read)
        again = open_cached(recorded, tmp_path / "cache")
    assert_same(again, expected)
    assert again.source == str(recorded)


def test_a_trace_that_changed_in_place_is_read_anew(recorded: Path, tmp_path: Path) -> None:
    open_cached(recorded, tmp_path / "cache")
    recorded.write_text('{"traceEvents": []}')
    assert len(open_cached(recorded, tmp_path / "cache").events) == 0


def test_a_damaged_cache_is_rebuilt(recorded: Path, tmp_path: Path) -> None:
    expected = open_cached(recorded, tmp_path / "cache")
    (store,) = (tmp_path / "cache").glob("*.parquet")
    store.write_bytes(store.read_bytes()[:500])
    assert_same(open_cached(recorded, tmp_path / "cache"), expected)
    assert store.stat().st_size > 500


def test_a_cache_that_cannot_be_written_does_no_harm(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert_same(open_cached(recorded, tmp_path / "cache"), read_trace(recorded))


def test_pruning_drops_what_was_used_longest_ago(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / f"{name}.parquet").write_bytes(b"x" * 100)
        os.utime(tmp_path / f"{name}.parquet", (1000 - age, 1000 - age))
    prune(tmp_path, limit_bytes=250)
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["middle", "new"]
