"""Open any trace: Kineto JSON or compact store, local file or URL."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, cast

from trace_timing.errors import TraceError
from trace_timing.malloc_settings import reuse_freed_memory
from trace_timing.trace.events import Trace
from trace_timing.trace.files.digest import sha256_of, verify
from trace_timing.trace.files.store import PARQUET_MAGIC, read_store_stream, without_cpu_ops
from trace_timing.trace.kineto.inflating import MOST_INFLATION
from trace_timing.trace.kineto.reader import read_stream

STORE_ENDING = ".parquet"
KINETO_ENDINGS = (".json", ".json.gz")


def open_trace(
    path: str | Path,
    *,
    cpu_ops: bool = False,
    sha256: str | None = None,
    max_inflation: float = MOST_INFLATION,
) -> Trace:
    """Read a Kineto trace or a compact store, whichever the content is.

    Args:
        path: a local path, or a URL of any file system that fsspec knows (s3://, gs://, …).
        cpu_ops: read the CPU ops too; a store may have been made without them.
        sha256: that the file must have; None: any.
        max_inflation: how many times its size a .gz may inflate to.
    Raises:
        TraceError: as read_trace and read_store; or CPU ops are requested from a store made without
            them; or the sha256 is another.
    """
    source = str(path)
    with opened(source) as file:
        if sha256 is not None:
            verify(sha256_of(file), sha256, source)
        return read_opened(file, source, cpu_ops=cpu_ops, max_inflation=max_inflation)


def read_opened(
    file: BinaryIO, source: str, *, cpu_ops: bool, max_inflation: float = MOST_INFLATION
) -> Trace:
    """As `open_trace`, from an open file."""
    reuse_freed_memory()
    start = file.read(len(PARQUET_MAGIC))
    file.seek(0)
    if start != PARQUET_MAGIC:
        return read_stream(file, source, cpu_ops=cpu_ops, max_inflation=max_inflation)
    trace = read_store_stream(file, source)
    if cpu_ops and not trace.info.has_cpu_ops:
        raise TraceError(
            f"{source}: the store has no CPU ops",
            why="It was made without them",
            remedy="Give the JSON trace it was made from.",
        )
    return trace if cpu_ops else without_cpu_ops(trace)


def opened(source: str) -> BinaryIO:
    """Open a file or URL for reading.

    Raises:
        TraceError: it cannot be read.
    """
    try:
        if "://" not in source:
            return Path(source).open("rb")
        import fsspec

        if source.startswith("file://"):
            return Path(fsspec.core.url_to_fs(source)[1]).open("rb")
        # Read as a whole: a compressed trace is small, and one request per block is slow.
        with fsspec.open(source, "rb") as remote:
            return io.BytesIO(cast("bytes", remote.read()))
    except (OSError, ValueError, ImportError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise TraceError(
            f"{source}: cannot be read", why=why, remedy="Check the path or URL."
        ) from error
