"""Verify that a capture's trace files are those that its records name."""

from __future__ import annotations

from pathlib import Path

from trace_timing.errors import TraceError
from trace_timing.stats.trace.trace_result import TraceSource
from trace_timing.trace.files.digest import sha256_of, verify

_OWN_ONLY = (
    "a record names traces of its own directory: move the file into traces/ there, or name it to "
    "analyze as a file"
)


def sha256_expected(source: TraceSource, file: str | Path | None = None) -> str | None:
    """The sha256 that a trace must have; None for a trace without a record.

    Args:
        file: the file that is read, if it is not the source's own.
    Raises:
        TraceError: the record's name or a link leads out of the capture directory, or the record
            has no sha256 of this file.
    """
    record = source.record
    if record is None or record.trace is None:
        return None
    name = str(record.trace)
    if any(mark in name for mark in "/\\\0") or name in ("", ".", ".."):
        raise TraceError(
            f"the record of {source.sample_id} names a trace outside the capture directory",
            why=f"its trace is {name!r}",
            remedy=_OWN_ONLY,
        )
    path = source.local if file is None else str(file)
    if "://" not in path:
        _refuse_link_out(Path(path), source.name)
    ending = path.rsplit("/", 1)[-1].removeprefix(f"{name}.")
    expected = record.sha256.get(ending)
    if expected is None:
        raise TraceError(
            f"{source.name}: its record has no sha256 of it, so it may not be the file that was "
            "recorded",
            why=f"the record has {', '.join(record.sha256) or 'none'}",
            remedy="capture the sample again, or name the file to analyze by itself",
        )
    return expected


def _refuse_link_out(path: Path, name: str) -> None:
    """Refuse a file whose real path is outside its capture directory."""
    root = path.parent.parent.resolve()
    real = path.resolve()
    if not real.is_relative_to(root):
        raise TraceError(
            f"{name}: a link leads out of the capture directory",
            why="traces are read from inside it alone",
            remedy=_OWN_ONLY,
        )


def verified(source: TraceSource, file: Path) -> Path:
    """A trace's local file, verified to be the one that was recorded.

    Raises:
        TraceError: it is not, or cannot be read.
    """
    expected = sha256_expected(source, file)
    if expected is None:
        return file
    try:
        with file.open("rb") as opened:
            verify(sha256_of(opened), expected, source.name)
    except OSError as error:
        why = error.strerror or str(error)
        raise TraceError(f"{source.name}: cannot be read", why=why, remedy="Check it.") from error
    return file
