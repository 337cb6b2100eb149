"""Tables in Parquet files: rows are appended trace by trace, and read on demand.

So the memory of an analysis does not grow with its traces. Row groups depend only on the rows and
their order, so that files are the same however many processes computed them. Files are not synced
one by one: `output_folder` syncs a whole output, and others can be made again.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trace_timing import schema
from trace_timing.atomic_write import replacing

#: Approximate rows of a row group.
_GROUP_ROWS = 1 << 16
#: Number of small waiting tables that are copied into one: a small Arrow table is mostly overhead.
_MOST_WAITING = 32


class StoredTables(Mapping[str, pa.Table]):
    """schema.TABLES by name, each read from its file on access.

    A table without rows has a file only if it is in schema.MAIN_TABLES.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> pa.Table:
        return self.read(name)

    def read(self, name: str, *, words: Sequence[str] = ()) -> pa.Table:
        """Read one table.

        Args:
            words: text columns with many repeated values, to be read as Arrow dictionaries.
        """
        if name not in schema.TABLES:
            raise KeyError(name)
        path = self._path(name)
        if name not in schema.MAIN_TABLES and not path.exists():
            return schema.TABLES[name].documented.empty_table()
        with pq.ParquetFile(path, read_dictionary=list(words)) as file:
            return file.read()

    def replace(self, name: str, table: pa.Table) -> None:
        """Replace one table."""
        checked = schema.check(table, schema.TABLES[name])
        with replacing(self._path(name), durable=False) as partial:
            pq.write_table(checked, partial, compression="zstd")

    def copy_to(self, folder: Path) -> None:
        """Copy the files into another folder, each atomically."""
        if folder.resolve() == self.folder.resolve():
            return
        for name in self:
            if (own := self._path(name)).exists():
                with replacing(folder / schema.file_of(name), durable=False) as partial:
                    shutil.copyfile(own, partial)

    def _path(self, name: str) -> Path:
        return self.folder / schema.file_of(name)

    def __iter__(self) -> Iterator[str]:
        return iter(schema.TABLES)

    def __len__(self) -> int:
        return len(schema.TABLES)


class TableWriters:
    """Appends rows to all tables; a context manager that puts the files in place at a good end.

    Args:
        folder: for the files; None: a temporary one that is deleted with the tables.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.tables = StoredTables(folder or Path(tempfile.mkdtemp(prefix="trace-timing-")))
        if folder is None:
            weakref.finalize(self.tables, shutil.rmtree, self.tables.folder, ignore_errors=True)
        self._files, self._open = ExitStack(), ExitStack()
        self._waiting: dict[str, list[pa.Table]] = {name: [] for name in schema.TABLES}
        #: Of these, how many at the begin are copied together already; rows of all.
        self._copied, self._rows = dict.fromkeys(schema.TABLES, 0), dict.fromkeys(schema.TABLES, 0)
        self._writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> TableWriters:
        return self

    def __exit__(self, *failure: object) -> None:
        # All files are put in place once all are complete, or none.
        try:
            with self._open:
                if failure[0] is None:
                    for name, rows in self._waiting.items():
                        if any(map(len, rows)) or self._is_due_empty(name):
                            self._flush(name)
        except BaseException:
            self._files.__exit__(*sys.exc_info())
            raise
        self._files.__exit__(*failure)  # type: ignore[arg-type]
        if failure[0] is None:
            for name in self._waiting.keys() - self._writers.keys():
                # From an earlier analysis into the same folder.
                (self.tables.folder / schema.file_of(name)).unlink(missing_ok=True)

    def append(self, tables: Mapping[str, pa.Table]) -> None:
        """Add the rows of one trace."""
        for name, rows in tables.items():
            waiting, copied = self._waiting[name], self._copied[name]
            waiting.append(rows)
            self._rows[name] += len(rows)
            # The columns of an open table are known only at the end.
            if not schema.TABLES[name].open and self._rows[name] >= _GROUP_ROWS:
                self._flush(name)
            elif len(waiting) - copied >= _MOST_WAITING:
                waiting[copied:] = [_concatenated(waiting[copied:]).combine_chunks()]
                self._copied[name] += 1

    def _is_due_empty(self, name: str) -> bool:
        """Whether a table is written even without rows."""
        return name in schema.MAIN_TABLES and name not in self._writers

    def _flush(self, name: str) -> None:
        """Write the waiting rows of a table as one row group."""
        rows = _joined(name, self._waiting[name])
        self._waiting[name], self._copied[name], self._rows[name] = [], 0, 0
        if name not in self._writers:
            place = self.tables.folder / schema.file_of(name)
            path = self._files.enter_context(replacing(place, durable=False))
            writer = pq.ParquetWriter(path, rows.schema, compression="zstd")
            self._writers[name] = self._open.enter_context(writer)
        self._writers[name].write_table(rows)


def _joined(name: str, parts: list[pa.Table]) -> pa.Table:
    if not parts:
        return schema.TABLES[name].documented.empty_table()
    return schema.check(_concatenated(parts), schema.TABLES[name])


def _concatenated(parts: list[pa.Table]) -> pa.Table:
    if all(part.schema.equals(parts[0].schema) for part in parts):
        return pa.concat_tables(parts)
    # Metadata columns may be absent in some samples, or int in some and float in others.
    return pa.concat_tables(parts, promote_options="permissive")
