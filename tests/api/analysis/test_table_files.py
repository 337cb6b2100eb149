"""Tables on disk: the same rows in the same files however they came."""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.paths import SAMPLE_TRACES
from trace_timing import schema
from trace_timing.api.analysis import table_files
from trace_timing.api.analysis.analyze import analyze
from trace_timing.api.analysis.table_files import StoredTables, TableWriters


def kernel_rows(sample: str, count: int) -> dict[str, pa.Table]:
    row = {
        "sample_id": sample,
        "repeat": 0,
        "rank": 0,
        "stage": "decode",
        "name": "gemm",
        "op": "kernel",
        "count": 1,
        "total_ns": 1,
        "mean_ns": 1.0,
        "max_ns": 1,
    }
    return {"kernels": pa.Table.from_pylist([row] * count, schema=schema.KERNELS.arrow())}


def test_rows_are_kept_in_order_in_groups_of_a_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "_GROUP_ROWS", 10)
    with TableWriters(tmp_path) as writers:
        for number in range(9):
            writers.append(kernel_rows(f"s{number}", 4))
        assert not list(tmp_path.glob("*.parquet"))  # none is seen before it is whole
    names = writers.tables["kernels"]["sample_id"].to_pylist()
    assert names == [f"s{number}" for number in range(9) for _ in range(4)]
    assert pq.ParquetFile(tmp_path / "kernels.parquet").metadata.num_row_groups == 3
    assert {file.stem for file in tmp_path.iterdir()} == set(schema.MAIN_TABLES)
    assert writers.tables["stages"].num_rows == 0
    assert writers.tables["kinds"].num_rows == 0
    assert writers.tables["kinds"].column_names == list(schema.KINDS.names)


def test_rows_of_very_many_traces_stay_in_their_order(tmp_path: Path) -> None:
    most = 3 * table_files._MOST_WAITING + 5
    with TableWriters(tmp_path) as writers:
        for number in range(most):
            writers.append(kernel_rows(f"s{number}", number % 3))
    names = writers.tables["kernels"]["sample_id"].to_pylist()
    assert names == [f"s{number}" for number in range(most) for _ in range(number % 3)]
    assert pq.ParquetFile(tmp_path / "kernels.parquet").metadata.num_row_groups == 1


def queue_rows(count: int) -> dict[str, pa.Table]:
    row = dict.fromkeys(schema.QUEUE.names, 1) | {"sample_id": "a", "stage": "decode"}
    rows = pa.Table.from_pylist([row] * count, schema=schema.QUEUE.arrow())
    return {"queue": rows}


def test_tables_that_say_why_lie_in_a_folder_of_their_own_where_they_have_rows(
    tmp_path: Path,
) -> None:
    with TableWriters(tmp_path) as writers:
        writers.append(queue_rows(2))
    assert [file.name for file in (tmp_path / "why").iterdir()] == ["queue.parquet"]
    writers.tables.copy_to(tmp_path / "copy")
    assert StoredTables(tmp_path / "copy")["queue"].num_rows == 2
    with TableWriters(tmp_path) as writers:  # a later analysis without such rows
        writers.append(queue_rows(0))
    assert writers.tables["queue"].num_rows == 0


def test_nothing_is_left_where_the_analysis_fails(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with TableWriters(tmp_path) as writers:
            writers.append(kernel_rows("a", 1 << 17))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert not list(tmp_path.iterdir())


def test_a_folder_of_their_own_goes_with_the_tables() -> None:
    with TableWriters() as writers:
        writers.append(kernel_rows("a", 1))
    tables: StoredTables | None = writers.tables
    assert tables is not None
    folder = tables.folder
    assert tables["kernels"].num_rows == 1
    del writers, tables
    assert not folder.exists()


def test_an_unknown_table_is_a_key_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        StoredTables(tmp_path)["nothing"]


def test_a_table_that_cannot_be_written_leaves_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TableWriters(tmp_path) as writers:
        writers.append(kernel_rows("old", 3))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(before) == len(schema.MAIN_TABLES)
    write_table, written = pq.ParquetWriter.write_table, []

    def full(writer: pq.ParquetWriter, rows: pa.Table) -> None:
        written.append(rows)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_table(writer, rows)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)

    def fill() -> None:
        with TableWriters(tmp_path) as writers:
            writers.append(kernel_rows("new", 3))

    with pytest.raises(OSError, match="No space left"):
        fill()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_units_and_definitions_stand_in_the_written_files(tmp_path: Path) -> None:
    analyze(SAMPLE_TRACES).tables.copy_to(tmp_path)
    files = list(tmp_path.rglob("*.parquet"))
    assert len(files) > len(schema.MAIN_TABLES)
    for file in files:
        table, written = schema.TABLES[file.stem], pq.read_schema(file)
        for column in table:
            said = written.field(column.name).metadata
            assert said[b"unit"].decode() == column.unit, column.name
            assert said[b"definition"].decode() == column.definition
    free = pq.read_schema(tmp_path / "samples.parquet").field("n_images").metadata
    assert free[b"definition"] == b"From the sample's metadata."
