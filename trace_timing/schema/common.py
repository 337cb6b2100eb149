"""Columns that several tables share."""

from __future__ import annotations

from trace_timing.schema.table import Column

RUN_KEY = (
    Column("sample_id", "string", "", "One input: image(s) and prompt."),
    Column(
        "repeat",
        "int64",
        "",
        "0, 1, … of one sample; null for ops in no run, in a trace with several runs.",
        nullable=True,
    ),
    Column("rank", "int64", "", "Process of a distributed run; 0 otherwise."),
)

CLOCK = Column(
    "clock", "string", "", "`device`: from the GPU timeline; `host`: from host ranges alone."
)

STAGE = Column("stage", "string", "", "Stage; rows exclude each other and tile the window.")

STAGE_OF_PART = Column(
    "stage",
    "string",
    "",
    "Stage; if `recorded` is false in the table `stages`, only its recorded steps.",
)
