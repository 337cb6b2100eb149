"""Kineto JSON, plain or gzipped -> Trace: exact integer ns, nothing dropped unsaid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from trace_timing.errors import TraceError
from trace_timing.trace.columns import EXACT_US, Columns, DigitsEvent, Event
from trace_timing.trace.events import Trace
from trace_timing.trace.header import trace_info

GZIP_MAGIC = b"\x1f\x8b"
_RECORD_AGAIN = "Record the trace again, or copy it again from where it was recorded."


def read_trace(path: str | Path, *, cpu_ops: bool = False) -> Trace:
    """Read one Kineto trace.

    Args:
        path: .json or .json.gz (told by content, not by name); an object with `traceEvents`
            or a bare list of events.
        cpu_ops: keep the `cpu_op` events too.
    Returns:
        Events in file order. Categories that analysis has no use for are counted in
        `info.skipped`.
    Raises:
        TraceError: no file, empty, truncated, not JSON, not a trace, or events with missing,
            NaN or negative times (named and counted).
    """
    source = str(path)
    data = _content(Path(path))
    header, columns = _decode(data, source, cpu_ops)
    if columns.bad.count:
        raise TraceError(
            f"{source}: {columns.bad.count} events have no usable times",
            why=f"The first: {columns.bad.first}",
            remedy="The profiler wrote a corrupt trace. " + _RECORD_AGAIN,
        )
    events = columns.events()
    return Trace(
        events=events,
        names=tuple(columns.names),
        threads=tuple(columns.threads),
        info=trace_info(
            header,
            rounded_to_us=len(events) > 0 and not columns.fractions_seen,
            skipped=columns.skipped,
            cpu_ops=cpu_ops,
        ),
        source=source,
    )


def _content(path: Path) -> bytes:
    from isal import igzip

    try:
        data = path.read_bytes()
    except OSError as error:
        raise TraceError(
            f"{path}: cannot be read", why=str(error.strerror), remedy="Check the path."
        ) from error
    if data.startswith(GZIP_MAGIC):
        try:
            data = igzip.decompress(data)
        except (EOFError, OSError, ValueError) as error:
            raise TraceError(
                f"{path}: the gzip data is damaged or cut short",
                why=str(error),
                remedy=_RECORD_AGAIN,
            ) from error
    if not data.strip():
        raise TraceError(f"{path}: the file is empty", remedy=_RECORD_AGAIN)
    return data


def _decode(data: bytes, source: str, cpu_ops: bool) -> tuple[dict[str, Any], Columns]:
    try:
        return _columns_of(data, source, cpu_ops)
    except msgspec.DecodeError as error:
        quoted = quote_non_finite(data)
        if quoted == data:
            raise _not_a_trace(source, error) from error
    try:
        return _columns_of(quoted, source, cpu_ops)
    except msgspec.DecodeError as error:
        raise _not_a_trace(source, error) from error


def _not_a_trace(source: str, error: msgspec.DecodeError) -> TraceError:
    if isinstance(error, msgspec.ValidationError):
        return TraceError(
            f"{source}: the JSON is not a Kineto trace",
            why=str(error),
            remedy="Give a trace exported by torch.profiler.",
        )
    return TraceError(f"{source}: the file is not JSON", why=str(error), remedy=_RECORD_AGAIN)


def _columns_of(data: bytes, source: str, cpu_ops: bool) -> tuple[dict[str, Any], Columns]:
    columns = Columns(cpu_ops)
    if data.lstrip()[:1] == b"[":
        header: dict[str, Any] = {}
        events = msgspec.Raw(data)
    else:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        if "traceEvents" not in fields:
            raise TraceError(
                f"{source}: the JSON has no traceEvents",
                why=f"It has {', '.join(sorted(fields)[:5]) or 'nothing'}",
                remedy="Give a trace exported by torch.profiler.",
            )
        events = fields.pop("traceEvents")
        header = {name: msgspec.json.decode(raw) for name, raw in fields.items()}
    decoded = msgspec.json.decode(events, type=list[Event])
    if any(isinstance(e.ts, float) and abs(e.ts) >= EXACT_US for e in decoded):
        columns.add(msgspec.json.decode(events, type=list[DigitsEvent]))
    else:
        columns.add(decoded)
    return header, columns


_STRING_OR_NON_FINITE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|nan|Infinity|inf)\b', re.DOTALL)


def quote_non_finite(data: bytes) -> bytes:
    """Put the tokens NaN, Infinity and inf, which JSON does not know, into quotes.

    Kineto and Python's json write them (a bandwidth over a zero duration); as strings they pass
    where nobody needs them and are named where they are a time.
    """

    def quoted(match: re.Match[bytes]) -> bytes:
        token = match.group()
        return token if token.startswith(b'"') else b'"' + token + b'"'

    return _STRING_OR_NON_FINITE.sub(quoted, data)
