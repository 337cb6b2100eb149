"""Cache of results on disk, one file a trace: what an interrupted or later analysis goes on from.

A result is found by everything its result depends on (the file's place and state, its records, the
settings, this program's code), so a stale one is never read. Arrow and JSON, no pickles:
an output folder may come from someone else.
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
#: Linux stamps files by a clock that ticks 100 to 1,000 times a second; two ticks of the slowest.
_TICK_NS = 20_000_000
_PACKAGE = Path(__file__).parents[2]


class _Part(msgspec.Struct, frozen=True):
    tables: dict[str, bytes]
    runs: tuple[RunSummary, ...]
    summary: TraceSummary
    recorded: tuple[RecordedRun, ...]


class ResultCache:
    """The results in a folder; those of other settings are passed over.

    Timelines for the report's figures are not kept: they are large, and of few runs.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        #: Not on disk: what failed is tried again, but not as long as this lives.
        self._rejected: dict[str, Outcome] = {}

    def clear(self) -> None:
        """Delete them all: the analysis is complete."""
        for part in self._folder.glob(f"*{_ENDING}"):
            part.unlink(missing_ok=True)
        remove_abandoned(self._folder.glob(".*.partial"))
        with suppress(OSError):
            self._folder.rmdir()

    def prune(self, limit_bytes: int) -> None:
        """Delete those that were used longest ago until the rest fits."""
        with suppress(OSError):
            remove_abandoned(self._folder.glob(".*.partial"))
            prune(self._folder, limit_bytes, ending=_ENDING)

    def key(self, source: TraceSource) -> str | None:
        """What the outcome of a trace is found by, as the trace is now; None where it is gone."""
        return fingerprint(source, self._settings)

    def has(self, key: str | None) -> bool:
        """Whether there is an outcome; reading it may still fail."""
        return key is not None and (key in self._rejected or self._path(key).exists())

    def load(self, source: TraceSource, key: str) -> Outcome | None:
        """The outcome; None where it is damaged."""
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
        """Keep an outcome under the key that its trace had before it was read."""
        if key is None:
            return
        result = outcome.result
        if result is None:
            self._rejected[key] = outcome
            return
        part = _Part(dict(result.packed_tables()), result.runs, result.summary, result.recorded)
        # A folder that cannot be written is no failure: the trace is analysed again next time.
        with suppress(OSError), replacing(self._path(key), durable=False) as partial:
            partial.write_bytes(msgspec.msgpack.encode(part))

    def _path(self, key: str | None) -> Path:
        return self._folder / f"{key}{_ENDING}"


def result_cache_of(
    folder: Path | None, settings: Settings, *, resume: bool
) -> tuple[ResultCache | None, bool]:
    """Where results are kept, and whether they stay there: those in the cache do."""
    if folder is None and settings.cache:
        return ResultCache(settings.cache / "results", settings), True
    return (ResultCache(folder, settings) if folder else None), resume


def fingerprint(source: TraceSource, settings: Settings) -> str | None:
    """A key of all that a result depends on; None where the file cannot be asked for its state."""
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
    """What changes whenever a file's content does, without reading it.

    On this machine inode, size, mtime and ctime. Size and mtime alone are not enough: both can be
    equal after an edit (`touch -r`, `cp -p`, `rsync --times`). No program can set the ctime: the
    kernel puts it to now at every write, truncation, rename onto the name and change of mtime, and
    the inode tells a file that took the place of another. It stands still for a tick of the
    kernel's clock alone, which is waited for where the file is that young. What is left is a clock
    that was set back to the very nanosecond, and stores into a mapped page that are not written
    back yet. Elsewhere the content's tag, where the server has one.
    """
    if "://" in source.local:
        fs, inner = fsspec.core.url_to_fs(source.location)
        found: Mapping[str, Any] = fs.info(inner)
        tags = ("size", "mtime", "ETag", "LastModified", "md5Hash", "generation", "version_id")
        return [str(found.get(tag)) for tag in tags]
    stat = Path(source.local).stat()
    if abs(time.time_ns() - stat.st_ctime_ns) < _TICK_NS:
        time.sleep(_TICK_NS / NS_PER_S)
        stat = Path(source.local).stat()
    return [str(n) for n in (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)]


@cache
def _code() -> str:
    """A digest of this program: a result is that of the code that computed it."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(_PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
