"""Cache of compact stores of traces, keyed on the content of the trace file.

The key is a hash of the file's bytes, so a moved trace is found and an overwritten one is not. A
damaged or older store is made anew.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from trace_timing.errors import TraceError
from trace_timing.trace.events import Trace
from trace_timing.trace.files.digest import sha256_of, verify
from trace_timing.trace.files.reading import STORE_ENDING, open_trace, opened, read_opened
from trace_timing.trace.files.store import STORE_VERSION, read_store, write_store
from trace_timing.trace.kineto.inflating import MOST_INFLATION

#: Size limit; the least recently used stores go first. Two thousand MolmoE samples take 1 GB.
LIMIT_BYTES = 4 * 10**9


def default_folder() -> Path:
    """The user's cache folder by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "trace-timing"


def open_through(
    path: str | Path,
    folder: Path | None,
    *,
    cpu_ops: bool = False,
    sha256: str | None = None,
    max_inflation: float = MOST_INFLATION,
) -> Trace:
    """As `open_trace`, through the cache in `folder`, unless it is None."""
    if folder is None:
        return open_trace(path, cpu_ops=cpu_ops, sha256=sha256, max_inflation=max_inflation)
    return open_cached(path, folder, cpu_ops=cpu_ops, sha256=sha256, max_inflation=max_inflation)


def open_cached(
    path: str | Path,
    folder: Path,
    *,
    cpu_ops: bool = False,
    sha256: str | None = None,
    max_inflation: float = MOST_INFLATION,
) -> Trace:
    """As `open_trace`, through the cache in `folder`; a URL or a store is read directly.

    If the cache cannot be written, the trace is read anew next time.
    """
    source = str(path)
    if "://" in source or source.endswith(STORE_ENDING):
        return open_trace(path, cpu_ops=cpu_ops, sha256=sha256, max_inflation=max_inflation)
    with opened(source) as file:
        digest = sha256_of(file)
        verify(digest, sha256, source)
        store = folder / f"{digest}.v{STORE_VERSION}{'.cpu' if cpu_ops else ''}{STORE_ENDING}"
        with suppress(TraceError, OSError):
            trace = read_store(store)
            os.utime(store)
            return replace(trace, source=source)
        trace = read_opened(file, source, cpu_ops=cpu_ops, max_inflation=max_inflation)
    with suppress(OSError):
        write_store(trace, store, durable=False)
        prune(folder, LIMIT_BYTES)
    return trace


def prune(folder: Path, limit_bytes: int, *, ending: str = STORE_ENDING) -> None:
    """Delete the least recently used files until the rest fits."""
    stores = [(file.stat(), file) for file in folder.glob(f"*{ending}")]
    stores.sort(key=lambda entry: entry[0].st_mtime_ns, reverse=True)
    total = 0
    for stat, file in stores:
        total += stat.st_size
        if total > limit_bytes:
            file.unlink(missing_ok=True)
