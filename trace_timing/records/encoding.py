"""Encode and decode stored records as JSON, and check their format version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from trace_timing.errors import TraceError

TOOL_VERSION = "0.1.0"


#: Version of manifest.json with its run records, and of summary.json with its tables.
#: 1: roles profiled and control. 2: roles recorded and control, each control with CUPTI's state.
FORMAT_VERSION = 2


T = TypeVar("T")


def encode(value: object) -> bytes:
    """Compact JSON of a record; mappings keep their order, so equal records give equal bytes."""
    return msgspec.json.encode(value, enc_hook=_as_list)


def _as_list(value: object) -> list[object]:
    """Sequences of our own are stored as lists."""
    if isinstance(value, Sequence):
        return list(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be stored")


def decode(data: bytes | str, kind: type[T], *, source: str, name: str = "") -> T:
    """Decode a record; for run records and manifests use their own functions.

    Args:
        name: the record's name in errors, if not the type's.
    Raises:
        TraceError: not JSON, a field missing or of another type; names `source` and the field.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise damaged(f"{source} is not a valid {name or kind.__name__}", str(error)) from error


def damaged(what: str, why: str) -> TraceError:
    """The error for a record that cannot be used."""
    return TraceError(what, why=why, remedy="record it again, or delete the damaged file or line")


@dataclass(frozen=True, kw_only=True)
class FormatHeader:
    """The format version of a manifest or summary, which may have unknown fields."""

    format_version: int = 1


def check_format(data: bytes | str, *, source: str) -> None:
    """Refuse the JSON of a manifest or summary whose format is newer than this program.

    docs/file-formats.md has the rules for raising the format version.

    Raises:
        TraceError: its `format_version` is above FORMAT_VERSION; or as `decode`.
    """
    version = decode(data, FormatHeader, source=source).format_version
    if version > FORMAT_VERSION:
        raise TraceError(
            f"{source} has format version {version}",
            why=f"trace-timing {TOOL_VERSION} reads versions up to {FORMAT_VERSION}",
            remedy="use the trace-timing that wrote it, or a newer one",
        )
