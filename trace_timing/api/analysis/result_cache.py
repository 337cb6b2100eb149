"""On-disk cache of per-trace results, for later analyses and for resuming interrupted ones.

The key covers everything that a result depends on (the file's path and state, its records, the
settings, this program's code), so a stale result is never read. Arrow and JSON, no pickles: an
output folder may come from someone else.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import pyarrow as pa

from trace_timing import schema
from trace_timing.api.analysis.worker import Outcome, Settings
from trace_timing.atomic_write import remove_abandoned, replacing
from trace_timing.schema.table import unpacked
from trace_timing.stats.latency.evidence import RecordedRun
from trace_timing.stats.trace.trace_result import RunSummary, TraceResult, TraceSource, TraceSummary
from trace_timing.trace.files.cache import prune
from trace_timing.units import NS_PER_S

_ENDING = ".part"
#: Two ticks of the slowest clock by which Linux stamps files (100 to 1,000 ticks a second).
_TICK_NS = 20_000_000
_PACKAGE = Path(__file__).parents[2]


class _Part(msgspec.Struct, frozen=True):
    tables: dict[str, bytes]
    runs: tuple[RunSummary, ...]
    summary: TraceSummary
    recorded: tuple[RecordedRun, ...]


class ResultCache:
    """Cached results in a folder; those of other settings are ignored.

    Timelines for the report's figures are not cached: they are large, and of few runs.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        #: Failures by key, in memory only: they are tried again in the next analysis.
        self._rejected: dict[str, Outcome] = {}

    def clear(self) -> None:
        """Delete all results, once the analysis is complete."""
        for part in self._folder.glob(f"*{_ENDING}"):
            part.unlink(missing_ok=True)
        remove_abandoned(self._folder.glob(".*.partial"))
        with suppress(OSError):
            self._folder.rmdir()

    def prune(self, limit_bytes: int) -> None:
        """Delete the least recently used results until the rest fits."""
        with suppress(OSError):
            remove_abandoned(self._folder.glob(".*.partial"))
            prune(self._folder, limit_bytes, ending=_ENDING)

    def key(self, source: TraceSource) -> str | None:
        """The cache key of a trace in its present state; None where the file is gone."""
        return fingerprint(source, self._settings)

    def has(self, key: str | None) -> bool:
        """Whether there is an outcome; loading it may still fail."""
        return key is not None and (key in self._rejected or self._path(key).exists())

    def load(self, source: TraceSource, key: str) -> Outcome | None:
        """The cached outcome; None where it is damaged."""
        if key in self._rejected:
            return self._rejected[key]
        try:
            part = msgspec.msgpack.decode(self._path(key).read_bytes(), type=_Part)
            with suppress(OSError):
                os.utime(self._path(key))
            tables = {name: unpacked(data) for name, data in part.tables.items()}
        except (OSError, msgspec.DecodeError, pa.ArrowException, ValueError):
            return None
        result = TraceResult(
            tables=tables, runs=part.runs, summary=part.summary, recorded=part.recorded
        )
        return Outcome(source, result, None)

    def save(self, outcome: Outcome, key: str | None) -> None:
        """Store an outcome under the key that its trace had before it was read."""
        if key is None:
            return
        result = outcome.result
        if result is None:
            self._rejected[key] = outcome
            return
        part = _Part(dict(result.packed_tables()), result.runs, result.summary, result.recorded)
        # If the folder cannot be written, the trace is analysed again next time.
        with suppress(OSError), replacing(self._path(key), durable=False) as partial:
            partial.write_bytes(msgspec.msgpack.encode(part))

    def _path(self, key: str | None) -> Path:
        return self._folder / f"{key}{_ENDING}"


def result_cache_of(
    folder: Path | None, settings: Settings, *, resume: bool
) -> tuple[ResultCache | None, bool]:
    """The result cache, and whether its results stay after the analysis."""
    if folder is None and settings.cache:
        return ResultCache(settings.cache / "results", settings), True
    return (ResultCache(folder, settings) if folder else None), resume


def fingerprint(source: TraceSource, settings: Settings) -> str | None:
    """Digest of all that a result depends on; None where the file's state cannot be read."""
    try:
        state = _state(source)
    except (OSError, ValueError, ImportError):
        return None
    columns = [(name, table.names) for name, table in sorted(schema.TABLES.items())]
    content = msgspec.msgpack.encode(
        (
            _code(),
            source,
            state,
            settings.stages.settings(),
            columns,
            settings.hta,
            settings.components,
        )
    )
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _state(source: TraceSource) -> list[str]:
    """Values that change whenever a file's content does, without reading it.

    For a local file inode, size, mtime and ctime. Size and mtime are not enough: both can be equal
    after an edit (`touch -r`, `cp -p`, `rsync --times`). No program can set the ctime: the kernel
    sets it at every write, truncation, rename onto the name and change of mtime. The inode shows a
    file that replaced another. ctime does not change within a tick of the kernel's clock, so for
    files that young a tick is waited. Not detected are a clock set back to the same nanosecond, and
    stores into a mapped page that are not yet written back. For other file systems, the server's
    tag of the content, if any.
    """
    if "://" in source.local:
        fs, inner = fsspec.core.url_to_fs(source.location)
        info: Mapping[str, Any] = fs.info(inner)
        tags = ("size", "mtime", "ETag", "LastModified", "md5Hash", "generation", "version_id")
        return [str(info.get(tag)) for tag in tags]
    stat = Path(source.local).stat()
    if abs(time.time_ns() - stat.st_ctime_ns) < _TICK_NS:
        time.sleep(_TICK_NS / NS_PER_S)
        stat = Path(source.local).stat()
    return [str(n) for n in (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)]


@cache
def _code() -> str:
    """Digest of this program's code, on which a result depends."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(_PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
