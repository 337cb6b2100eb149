"""One way in for every trace, whatever its form."""

from __future__ import annotations

from pathlib import Path

from trace_timing.trace.events import Trace
from trace_timing.trace.kineto import read_trace
from trace_timing.trace.store import read_store

STORE_ENDING = ".parquet"
KINETO_ENDINGS = (".json", ".json.gz")


def open_trace(path: str | Path, *, cpu_ops: bool = False) -> Trace:
    """Read a compact store or a Kineto trace, told apart by the file's ending.

    Raises:
        TraceError: as read_trace and read_store.
    """
    if str(path).endswith(STORE_ENDING):
        return read_store(path)
    return read_trace(path, cpu_ops=cpu_ops)
