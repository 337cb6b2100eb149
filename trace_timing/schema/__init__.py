"""The schema of every table that is written: columns with type, unit and definition.

Tables are checked against it on writing, and the column reference in the docs is generated from it.
"""

from __future__ import annotations

from trace_timing.schema.breakdown import (
    COMMUNICATION,
    COMPONENTS,
    GRAPH_NODES,
    GRAPHS,
    HTA,
    IDLE,
    KINDS,
    LIMITS,
    QUEUE,
    QUEUE_DEPTH,
    RANKS,
    SPANS,
    SYNC_LOOPS,
    VERDICTS,
)
from trace_timing.schema.samples import (
    ESTIMATED_TIMES,
    IDENTITY,
    RUNS,
    SAMPLE_PARTS,
    SAMPLE_TIMES,
    SAMPLES,
)
from trace_timing.schema.stages import DEVICE_STAGES, KERNELS, STAGES, STEPS
from trace_timing.schema.table import Column, SchemaError, Table, check

__all__ = [
    "COMMUNICATION",
    "COMPONENTS",
    "DEVICE_STAGES",
    "ESTIMATED_TIMES",
    "GRAPHS",
    "GRAPH_NODES",
    "HTA",
    "IDENTITY",
    "IDLE",
    "KERNELS",
    "KINDS",
    "LIMITS",
    "MAIN_TABLES",
    "QUEUE",
    "QUEUE_DEPTH",
    "RANKS",
    "RUNS",
    "SAMPLES",
    "SAMPLE_PARTS",
    "SAMPLE_TIMES",
    "SPANS",
    "STAGES",
    "STEPS",
    "SYNC_LOOPS",
    "TABLES",
    "VERDICTS",
    "WHY_FOLDER",
    "Column",
    "SchemaError",
    "Table",
    "check",
    "file_of",
]

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        SAMPLES,
        RUNS,
        STAGES,
        DEVICE_STAGES,
        STEPS,
        KERNELS,
        KINDS,
        IDLE,
        QUEUE,
        QUEUE_DEPTH,
        SYNC_LOOPS,
        COMMUNICATION,
        GRAPHS,
        GRAPH_NODES,
        COMPONENTS,
        VERDICTS,
        LIMITS,
        SPANS,
        RANKS,
        HTA,
    )
}

#: Tables written beside the report, even without rows. The others are in `why/` if they have rows.
MAIN_TABLES = ("samples", "runs", "stages", "steps", "kernels")
WHY_FOLDER = "why"


def file_of(name: str) -> str:
    """The path of a table, relative to the output folder."""
    file = f"{name}.parquet"
    return file if name in MAIN_TABLES else f"{WHY_FOLDER}/{file}"
