"""Tables: columns with type, unit and definition, a key, and the check on writing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from trace_timing.errors import TraceTimingError

if TYPE_CHECKING:
    import pyarrow as pa

ColumnType = Literal["string", "int64", "float64", "bool"]
Unit = Literal["ns", "ms", "count", "ratio", "fraction", "bytes", ""]


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, unit, definition, and whether it may be null."""

    name: str
    type: ColumnType
    unit: Unit
    definition: str
    nullable: bool = False


@dataclass(frozen=True)
class Meaning:
    """Unit and definition of a column that is a row's field: `Annotated[int, Meaning(…)]`."""

    unit: Unit
    definition: str


_TYPES: dict[object, ColumnType] = {
    int: "int64", float: "float64", str: "string", bool: "bool",
}  # fmt: skip


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table, a field a column.

    No dataclass: a trace has hundreds of rows, and a frozen dataclass takes several times as long
    to make one.
    """


def columns_of(row: type[Row]) -> tuple[Column, ...]:
    """The columns of a row's fields, in order; a field that may be None is nullable.

    A field is annotated with its Meaning, or with the Column itself.
    """
    hints = get_type_hints(row, include_extras=True)
    return tuple(_column(name, hints[name]) for name in row.__struct_fields__)


def _column(name: str, hint: Any) -> Column:
    annotated, meaning = get_args(hint)
    if isinstance(meaning, Column):
        return meaning
    options = get_args(annotated)
    nullable = type(None) in options
    kind = options[0] if nullable else str if get_origin(annotated) is Literal else annotated
    return Column(name, _TYPES[kind], meaning.unit, meaning.definition, nullable)


@dataclass(frozen=True)
class Table:
    """A table's columns in order, and the key that identifies a row."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    #: Whether columns beyond the schema may follow (a sample's metadata).
    open: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(column.name for column in self.columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def arrow(self) -> pa.Schema:
        """The Arrow schema, units in the field metadata."""
        return self._arrow

    @cached_property
    def documented(self) -> pa.Schema:
        """The Arrow schema of the files, with unit and definition of each field."""
        import pyarrow as pa

        metadata = {c.name: {"unit": c.unit, "definition": c.definition} for c in self.columns}
        return pa.schema(field.with_metadata(metadata[field.name]) for field in self._arrow)

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Rows as an Arrow table; columns that a row lacks are null.

        Of an open table, columns beyond the schema follow by name, typed as Arrow infers them.
        """
        import pyarrow as pa

        expected = self.arrow()
        extra = sorted({name for row in rows for name in row} - set(self.names))
        typed = {f.name: pa.array([r.get(f.name) for r in rows], f.type) for f in expected}
        free = {name: _inferred([r.get(name) for r in rows]) for name in extra}
        fields = [*expected, *(pa.field(n, a.type) for n, a in free.items())]
        return pa.table({**typed, **free}, schema=pa.schema(fields))

    @cached_property
    def _arrow(self) -> pa.Schema:
        import pyarrow as pa

        types = {
            "string": pa.string(),
            "int64": pa.int64(),
            "float64": pa.float64(),
            "bool": pa.bool_(),
        }
        return pa.schema(
            pa.field(c.name, types[c.type], nullable=c.nullable, metadata={"unit": c.unit})
            for c in self.columns
        )


def _inferred(values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if v is None else str(v) for v in values])


class SchemaError(TraceTimingError):
    """A table lacks columns, types or non-null values of its schema."""


def check(table: pa.Table, schema: Table) -> pa.Table:
    """Return `table` with exactly the schema's types and its definitions, or raise.

    Raises:
        SchemaError: a column missing, unknown, of another type, or null where it may not be.
    """
    expected = schema.arrow()
    extra = [name for name in table.column_names if name not in schema.names]
    missing = [name for name in schema.names if name not in table.column_names]
    if missing or (extra and not schema.open):
        raise SchemaError(
            f"table {schema.name}: columns do not fit its schema",
            why=f"missing {missing}, unknown {extra}",
        )
    for field in expected:
        column = table.column(field.name)
        if column.type != field.type and column.null_count != len(column):
            raise SchemaError(
                f"table {schema.name}: {field.name} is {column.type}, should be {field.type}"
            )
        if not field.nullable and column.null_count:
            raise SchemaError(f"table {schema.name}: {field.name} has nulls and may not")
    ordered = table.select([*schema.names, *extra])
    free = {"unit": "", "definition": "From the sample's metadata."}
    fields = [
        *schema.documented,
        *(ordered.schema.field(name).with_metadata(free) for name in extra),
    ]
    import pyarrow as pa

    return ordered.cast(pa.schema(fields))


def packed(table: pa.Table) -> bytes:
    """A table as one Arrow stream, which pickles faster than a table's three buffers a column."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def unpacked(data: bytes) -> pa.Table:
    """The table from `packed`.

    Raises:
        pyarrow.ArrowException: the bytes are no Arrow stream.
    """
    import pyarrow as pa

    return pa.ipc.open_stream(data).read_all()
