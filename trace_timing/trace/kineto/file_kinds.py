"""Recognise other kinds of files, so that the error can name them and the remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from trace_timing.errors import TraceError
from trace_timing.trace.kineto.pieces import Rest
from trace_timing.trace.kineto.text import UNREADABLE

#: UTF-8 byte order mark, which may precede JSON.
UTF8_MARK = b"\xef\xbb\xbf"

_UNPACK = "Unpack it and give the trace that is in it."
_KINETO = "Give the JSON that torch.profiler exports (export_chrome_trace)."
_AS_UTF8 = "Save it as UTF-8, as torch.profiler writes it."
#: First bytes, what a file that begins with them is, and what to do.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"SQLite format 3\0", "an SQLite database, as Nsight Systems exports them", _KINETO),
    (b"\xff\xfe\0\0", "text in UTF-32", _AS_UTF8),
    (b"\0\0\xfe\xff", "text in UTF-32", _AS_UTF8),
    (b"\xff\xfe", "text in UTF-16", _AS_UTF8),
    (b"\xfe\xff", "text in UTF-16", _AS_UTF8),
    (b"{\0", "text in UTF-16", _AS_UTF8),
    (b"[\0", "text in UTF-16", _AS_UTF8),
    (b"\0{", "text in UTF-16", _AS_UTF8),
    (b"\0[", "text in UTF-16", _AS_UTF8),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ\0", "compressed with xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"\x1f\x8b", "gzipped twice", _UNPACK),
    (b"\x80\x02", "a Python pickle", _KINETO),
    (b"\x80\x03", "a Python pickle", _KINETO),
    (b"\x80\x04", "a Python pickle", _KINETO),
    (b"\x80\x05", "a Python pickle", _KINETO),
    (b"%PDF-", "a PDF document", _KINETO),
    (b"\x89PNG", "an image", _KINETO),
    (b"<!DOCTYPE", "a page of HTML", _KINETO),
    (b"<html", "a page of HTML", _KINETO),
)
#: Field 1 of Perfetto's `Trace`, length-delimited, and in it a first field of a TracePacket:
#: https://perfetto.dev/docs/reference/trace-packet-proto
_PERFETTO_TAG = 0x0A
_FIRST_VALUE = re.compile(rb"\s*(\{.*?\})\s*\n\s*\{", re.DOTALL)
_MOST_FIRST_BYTES = 1 << 20


@dataclass(frozen=True)
class FileKind:
    """Kind of a file, the evidence, and the remedy."""

    what: str
    why: str
    remedy: str


def refuse_other_kinds(first: bytes, source: str) -> None:
    """Refuse a file of another kind, by its first bytes.

    Raises:
        TraceError: it is of a known other kind.
    """
    for magic, what, remedy in _MAGIC:
        if first.startswith(magic):
            raise TraceError(f"{source}: it is {what}, not a Kineto trace", remedy=remedy)
    if _is_perfetto(first):
        raise TraceError(
            f"{source}: it is a Perfetto trace (protobuf), not a Kineto trace", remedy=_KINETO
        )


def _is_perfetto(first: bytes) -> bool:
    """Whether it begins with a packet that is followed by another one or by nothing."""
    if first[:1] != bytes([_PERFETTO_TAG]) or b"\0" not in first[:4096]:
        return False  # JSON may begin with that byte, a newline, but has no byte 0
    length = shift = 0
    for position, byte in enumerate(first[1:6], 2):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            end = position + length
            return end >= len(first) or first[end] == _PERFETTO_TAG
    return False


def kind_of_document(rest: Rest) -> FileKind | None:
    """Why JSON cannot be read as one document, if that can be recognised."""
    whole = bytes(rest.document[:_MOST_FIRST_BYTES])
    first = _FIRST_VALUE.match(whole)
    if rest.head is None and first and _is_json(first[1]):
        return FileKind(
            "it has one JSON value a line (ndjson), not one document",
            f"Its first line is {first[1][:60].decode(errors='replace')}",
            _KINETO,
        )
    end = _end_of_document(rest)
    if end is not None:
        return FileKind(
            "it holds two documents, one after the other",
            f"The second begins with {bytes(rest.body[end : end + 40]).decode(errors='replace')!r}",
            "Give each as a trace of its own.",
        )
    return None


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except UNREADABLE:
        return False
    return True


_SECOND = re.compile(rb"\}\s*([\{\[])")


def _end_of_document(rest: Rest) -> int | None:
    """Where a second document begins in the body; None where there is none.

    A closing brace followed by an opening one without a comma is the end of a document.
    """
    head = b"" if rest.head is None else rest.head
    for tried, second in enumerate(_SECOND.finditer(rest.body)):
        if tried == 8:
            break
        if _is_json(bytes(head) + bytes(rest.body[: second.start() + 1])):
            return second.start(1)
    return None
