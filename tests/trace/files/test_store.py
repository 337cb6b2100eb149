"""The compact store: reads back what was written, or refuses."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.trace.kineto_files import CALL, KERNEL, write
from trace_timing.errors import TraceError
from trace_timing.trace.events import NONE, Events, Trace, TraceInfo
from trace_timing.trace.files.store import compact, read_store, without_cpu_ops, write_store
from trace_timing.trace.kineto.reader import read_trace


def assert_same(one: Trace, other: Trace) -> None:
    assert (one.names, one.threads, one.info) == (other.names, other.threads, other.info)
    for column in fields(Events):
        a, b = getattr(one.events, column.name), getattr(other.events, column.name)
        assert a.dtype == b.dtype
        assert np.array_equal(a, b), column.name


@pytest.fixture
def trace(h200: Path) -> Trace:
    return read_trace(h200 / "llava_llama1b_user_scope.json.gz")


@pytest.mark.parametrize("cpu_ops", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "h200/llava_llama1b_cpu_cuda",
        "peers/hta_ns_resolution",
        "peers/hta_rank_non_gpu",
        "peers/tracelens_mi210_gpu_only",
        "peers/tracelens_vllm_decode_graph",
    ],
)
def test_a_store_reads_back_every_event_name_and_header_field(
    shared: Path, tmp_path: Path, name: str, cpu_ops: bool
) -> None:
    trace = read_trace(shared / "traces" / f"{name}.json.gz", cpu_ops=cpu_ops)
    write_store(trace, tmp_path / "one.parquet")
    assert_same(read_store(tmp_path / "one.parquet"), trace)


def test_five_tokens_of_molmoe_take_less_than_a_megabyte(h200: Path, tmp_path: Path) -> None:
    trace = read_trace(h200 / "molmoe_1crop_user_scope.json.gz")
    write_store(trace, tmp_path / "molmoe.parquet")
    assert (tmp_path / "molmoe.parquet").stat().st_size < 1_000_000
    assert_same(read_store(tmp_path / "molmoe.parquet"), trace)


def test_leaving_out_cpu_ops_later_is_as_never_having_asked_for_them(h200: Path) -> None:
    path = h200 / "llava_llama1b_cpu_cuda.json.gz"
    assert_same(without_cpu_ops(read_trace(path, cpu_ops=True)), read_trace(path))


def test_an_empty_trace_is_stored_too(trace: Trace, tmp_path: Path) -> None:
    empty = compact(replace(trace, events=trace.events.take(np.zeros(0, np.int64))))
    write_store(empty, tmp_path / "empty.parquet")
    assert_same(read_store(tmp_path / "empty.parquet"), empty)


def test_a_store_holds_the_file_name_of_its_source_and_no_path(
    trace: Trace, tmp_path: Path
) -> None:
    write_store(trace, tmp_path / "one.parquet")
    folder = os.fsencode(Path(trace.source).parent)
    assert len(folder) > 5
    assert folder not in (tmp_path / "one.parquet").read_bytes()


def test_a_flipped_byte_anywhere_is_refused_or_changes_nothing(
    trace: Trace, tmp_path: Path
) -> None:
    write_store(trace, tmp_path / "good.parquet")
    good = (tmp_path / "good.parquet").read_bytes()
    chosen = np.random.default_rng(5)
    places = [
        *chosen.integers(0, len(good), 60),
        *chosen.integers(len(good) - 6_000, len(good), 140),  # the footer: schema and header
    ]
    refused = 0
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << int(chosen.integers(8))
        (tmp_path / "bad.parquet").write_bytes(bad)
        try:
            assert_same(read_store(tmp_path / "bad.parquet"), trace)
        except TraceError:
            refused += 1
    assert refused > 60


def test_a_store_cut_short_is_refused_with_a_remedy(trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    write_store(trace, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TraceError, match="damaged") as caught:
        read_store(path)
    assert caught.value.remedy


def test_a_store_of_another_version_is_refused_by_number(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("trace_timing.trace.files.store.STORE_VERSION", 99)
        write_store(trace, tmp_path / "new.parquet")
    with pytest.raises(TraceError, match="version 99"):
        read_store(tmp_path / "new.parquet")


def test_a_store_reads_back_which_graph_a_node_is_of(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path / "trace.json", {"traceEvents": [CALL, KERNEL]}))
    write_store(trace, tmp_path / "one.parquet")
    stored = read_store(tmp_path / "one.parquet").events
    assert (stored.graph.tolist(), stored.graph_node.tolist()) == ([NONE, 2], [NONE, 4])


def test_a_store_from_before_graphs_were_told_apart_is_refused_with_a_remedy(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("trace_timing.trace.files.store.STORE_VERSION", 1)
        write_store(trace, tmp_path / "old.parquet")
    with pytest.raises(TraceError, match="version 1") as caught:
        read_store(tmp_path / "old.parquet")
    assert caught.value.remedy


def test_someone_elses_parquet_is_refused(trace: Trace, tmp_path: Path) -> None:
    write_store(trace, tmp_path / "one.parquet")
    pq.write_table(
        pq.read_table(tmp_path / "one.parquet").replace_schema_metadata(None),
        tmp_path / "other.parquet",
    )
    with pytest.raises(TraceError, match="not a trace store"):
        read_store(tmp_path / "other.parquet")


def test_a_missing_store_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        read_store(tmp_path / "none.parquet")


def test_a_write_that_fails_leaves_the_older_store_and_no_part_of_the_new(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one.parquet"
    write_store(trace, path)
    before = path.read_bytes()

    def fails_half_way(table: object, where: Path, **settings: object) -> None:
        where.write_bytes(b"PAR1 half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", fails_half_way)
        with pytest.raises(OSError, match="No space"):
            write_store(replace(trace, info=TraceInfo()), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["one.parquet"]


def test_damage_that_was_passed_over_is_in_the_store(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text(
        '[{"ph": "X", "cat": "user_annotation", "name": "theirs", "pid": 1, "tid": 1, "ts": 1}, '
        '{"ph": "X", "cat": "cuda_runtime", "name": "a\\b", "pid": 1, "tid": 1, "ts": 1, "dur": 1},'
        '{"ph": "X", "cat": "python_function", "name": "a\\x"}]'
    )
    trace = read_trace(tmp_path / "trace.json")
    write_store(trace, tmp_path / "trace.parquet")
    damage = read_store(tmp_path / "trace.parquet").info.damage
    assert damage == trace.info.damage
    assert (damage.ranges, damage.repaired) == ({"theirs": "has no dur"}, 1)
