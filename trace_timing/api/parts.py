"""Results on disk, one file a trace, written as they come: what --resume and --watch go on from.

A part is found by everything its result depends on (the file's place, size and time, its records,
the settings, this program's version), so a stale one is never read. Arrow and JSON, no pickles:
an output folder may come from someone else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import pyarrow as pa

from trace_timing import schema
from trace_timing.api.one_trace import Outcome, Settings
from trace_timing.atomic import replacing
from trace_timing.records import TOOL_VERSION
from trace_timing.stats.observer import ObservedRun
from trace_timing.stats.trace_result import RunSummary, TraceResult, TraceSource, TraceSummary

_ENDING = ".part"


class _Part(msgspec.Struct, frozen=True):
    tables: dict[str, bytes]
    runs: tuple[RunSummary, ...]
    summary: TraceSummary
    observed: tuple[ObservedRun, ...]


class Parts:
    """The parts in a folder; those of other settings are passed over.

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
        with suppress(OSError):
            self._folder.rmdir()

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
            tables = {
                name: pa.ipc.open_stream(data).read_all() for name, data in part.tables.items()
            }
        except (OSError, msgspec.DecodeError, pa.ArrowException, ValueError):
            return None
        result = TraceResult(
            tables=tables, runs=part.runs, summary=part.summary, observed=part.observed
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
        tables = {name: _ipc(table) for name, table in result.tables.items()}
        part = _Part(tables, result.runs, result.summary, result.observed)
        with replacing(self._path(key)) as partial:
            partial.write_bytes(msgspec.msgpack.encode(part))

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_ENDING}"


def fingerprint(source: TraceSource, settings: Settings) -> str | None:
    """A key of all that a result depends on; None where the file cannot be asked for its state."""
    try:
        fs, inner = fsspec.core.url_to_fs(source.location)
        found: Mapping[str, Any] = fs.info(inner)
    except (OSError, ValueError, ImportError):
        return None
    state = [str(found.get(k)) for k in ("size", "mtime", "ETag", "LastModified", "md5Hash")]
    stages = [(pattern.pattern, str(stage)) for pattern, stage in settings.stages.patterns]
    columns = [(name, table.names) for name, table in sorted(schema.TABLES.items())]
    content = msgspec.msgpack.encode(
        (TOOL_VERSION, source, state, stages, columns, settings.hta, settings.components)
    )
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data
