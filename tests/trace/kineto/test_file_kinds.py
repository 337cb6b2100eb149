"""A file that is no Kineto JSON is called what it is."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import zipfile
from pathlib import Path

import pytest

from tests.trace.kineto_files import CALL
from trace_timing.errors import TraceError
from trace_timing.trace.kineto.reader import read_trace

TEXT = json.dumps({"traceEvents": [CALL]})


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("trace.json", TEXT)
    return buffer.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table CUPTI_ACTIVITY_KIND_KERNEL (start, end)")
    return connection.serialize() if hasattr(connection, "serialize") else b"SQLite format 3\0"


def perfetto(packets: int) -> bytes:
    """A Perfetto trace: field 1 again and again, each with a packet that has a clock and a text."""
    packet = b"\x08\x80\x01\x50\x00\x12\x03abc"
    return (b"\x0a" + bytes([len(packet)]) + packet) * packets


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (zipped(), "a zip archive"),
        (gzip.compress(zipped()), "a zip archive"),
        (gzip.compress(gzip.compress(TEXT.encode())), "gzipped twice"),
        (bz2.compress(TEXT.encode()), "compressed with bzip2"),
        (lzma.compress(TEXT.encode()), "compressed with xz"),
        (database(), "an SQLite database"),
        (pickle.dumps({"traceEvents": []}), "a Python pickle"),
        (perfetto(1), "a Perfetto trace"),
        (perfetto(50), "a Perfetto trace"),
        (TEXT.encode("utf-16"), "text in UTF-16"),
        (TEXT.encode("utf-16-le"), "text in UTF-16"),
        (TEXT.encode("utf-16-be"), "text in UTF-16"),
        (TEXT.encode("utf-32"), "text in UTF-32"),
        (b"<!DOCTYPE html><html></html>", "a page of HTML"),
        ((TEXT + TEXT).encode(), "two documents"),
        ((TEXT + "\n" + TEXT).encode(), "two documents"),
        ("\n".join([json.dumps(CALL)] * 3).encode(), "ndjson"),
        (TEXT[:-1].encode() + b', "traceEvents": []}', "two lists of traceEvents"),
    ],
)
def test_it_is_refused_by_what_it_is(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=what) as caught:
        read_trace(path)
    assert caught.value.remedy


@pytest.mark.parametrize("before", [b"", b"\n", b"\n\n \t", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_what_may_stand_before_json_is_passed_over(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(before + TEXT.encode())
    assert len(read_trace(path).events) == 1
