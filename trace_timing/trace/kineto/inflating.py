"""Read a trace file in blocks of text, inflating gzip up to a limit.

Deflate can make a gigabyte of a megabyte. Kineto's JSON inflates to 12 to 23 times its size (13
recorded and public traces), so a file that inflates to more than MOST_INFLATION times is refused
unless the user allows more.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from trace_timing.errors import TraceError
from trace_timing.trace.kineto.file_kinds import UTF8_MARK, refuse_other_kinds

GZIP_MAGIC = b"\x1f\x8b"
#: Bytes read at a time.
BLOCK_BYTES = 1 << 18
#: How many times its size a .gz may inflate to, once that is more than FREE_BYTES.
MOST_INFLATION = 100.0
FREE_BYTES = 1 << 28
_AGAIN = "Record the trace again, or copy it again from where it was recorded."


def blocks_of(
    file: BinaryIO, source: str, max_inflation: float = MOST_INFLATION
) -> Iterator[bytes]:
    """The file's text.

    Args:
        source: names the file in messages.
        max_inflation: how many times its size a .gz may inflate to.
    Raises:
        TraceError: it is of another kind (an archive, a database …), its gzip data is damaged, or
            it inflates to more than allowed.
    """
    start = file.read(len(GZIP_MAGIC))
    file.seek(0)
    blocks = (
        _inflated(file, source, max_inflation)
        if start == GZIP_MAGIC
        else iter(lambda: file.read(BLOCK_BYTES), b"")
    )
    first = next(blocks, b"")
    refuse_other_kinds(first, source)
    yield first.removeprefix(UTF8_MARK)
    yield from blocks


def _inflated(file: BinaryIO, source: str, max_inflation: float) -> Iterator[bytes]:
    """Blocks of the inflated text, up to the limit."""
    from isal import igzip, isal_zlib

    isal_error = cast("type[Exception]", isal_zlib.error)

    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    most, given = max(FREE_BYTES, size * max_inflation), 0
    try:
        with igzip.IGzipFile(fileobj=file) as inflated:
            while block := inflated.read(BLOCK_BYTES):
                given += len(block)
                if given > most:
                    break
                yield block
            else:
                return
    except (EOFError, OSError, ValueError, zlib.error, isal_error) as error:
        raise TraceError(
            f"{source}: the gzip data is damaged or cut short", why=str(error), remedy=_AGAIN
        ) from error
    raise TraceError(
        f"{source}: it inflates to more than {max_inflation:g} times its size",
        why=f"{size:,} bytes gave {given:,} so far; traces inflate to 12 to 23 times",
        remedy="Look at what is in it; if it is a trace, allow more with --max-inflation.",
    )
