"""Columns of a table are the annotated fields of its rows."""

from __future__ import annotations

from typing import Annotated, Literal

from trace_timing.schema.table import Column, Meaning, Row, columns_of

STAGE = Column("stage", "string", "", "A stage.")


class Work(Row, frozen=True, kw_only=True):
    stage: Annotated[str, STAGE]
    kind: Annotated[Literal["one", "other"], Meaning("", "A kind.")]
    took_ns: Annotated[int | None, Meaning("ns", "A time.")]
    share: Annotated[float, Meaning("fraction", "A share.")]
    good: Annotated[bool, Meaning("", "A judgement.")]


def test_types_units_and_definitions_come_from_the_fields_in_order() -> None:
    assert columns_of(Work) == (
        STAGE,
        Column("kind", "string", "", "A kind."),
        Column("took_ns", "int64", "ns", "A time.", nullable=True),
        Column("share", "float64", "fraction", "A share."),
        Column("good", "bool", "", "A judgement."),
    )
