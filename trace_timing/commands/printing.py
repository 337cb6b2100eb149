"""The one place that commands print through: what others wrote cannot command the terminal."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from trace_timing.errors import UsageError
from trace_timing.untrusted_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

#: What this program's own texts have beyond ASCII, for streams that cannot take it.
_IN_ASCII = {
    **{"±": "+-", "≈": "~", "×": "x", "÷": "/", "−": "-", "–": "-", "—": "-", "…": "..."},
    **{"→": "->", "µ": "u", "μ": "u", "τ": "tau", "α": "alpha", "■": "#", "ᵀ": "T"},
    **{"⌊": "floor(", "⌋": ")", "’": "'", "‘": "'", "“": '"', "”": '"', "\xa0": " "},
}
_ERRORS = "trace-timing"


def fit_streams() -> None:
    """Let stdout and stderr write what their encoding cannot take in ASCII, not fail on it."""
    codecs.register_error(_ERRORS, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    failed = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(c) or _escaped(c) for c in failed), error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()


def fitted(text: str, encoding: str, *, lines: bool = False) -> str:
    """The text as a stream of that encoding will show it, of the width that it will have there.

    Args:
        lines: the text is several lines of ours, so newlines stay.
    """
    codecs.register_error(_ERRORS, _replaced)
    shown = printable(text, lines=lines)
    return shown.encode(encoding, _ERRORS).decode(encoding)


def say(text: str, *, err: bool = False) -> None:
    """One line on stdout, or on stderr."""
    # Not click.echo: to an ASCII stream it writes UTF-8.
    stream = sys.stderr if err else sys.stdout
    with _told_if_full(stream):
        stream.write(f"{printable(text)}\n")
        stream.flush()


@contextmanager
def _told_if_full(stream: TextIO) -> Iterator[None]:
    """What a stream cannot take, in a line: it is a file on a full disk, say."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # Python flushes it once more
        raise UsageError(
            f"{stream.name.strip('<>')} cannot be written",
            why=error.strerror or str(error),
            remedy="send it where there is room; files that -o asked for are written",
        ) from error


def say_json(data: bytes) -> None:
    """A JSON text on stdout, with the control characters that JSON allows in strings escaped."""
    text = data.decode()
    # Those below U+0020 JSON itself escapes; newlines between its values stay.
    escaped = "".join(_json_escape(c) if "\x7f" <= c <= "\x9f" else c for c in text)
    with _told_if_full(sys.stdout):
        sys.stdout.buffer.write(escaped.encode() + b"\n")
        sys.stdout.flush()


def _json_escape(character: str) -> str:
    return f"\\u{ord(character):04x}"


def show(console: Console, *renderables: RenderableType) -> None:
    """Tables and texts of rich; a str is shown as it is, without markup."""
    from rich.text import Text

    for item in renderables:
        with _told_if_full(sys.stdout):
            console.print(Inert(_fit(Text(item) if isinstance(item, str) else item, console)))


def _fit(item: Any, console: Console) -> Any:
    """The same with texts that are as wide as they will be shown: before columns are laid out."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if isinstance(item, str):
        return fitted(item, console.encoding)
    if isinstance(item, Text):
        return _fit_text(item, console)
    if isinstance(item, Group):
        return Group(*(_fit(inner, console) for inner in item.renderables))
    if isinstance(item, Table):
        for column in item.columns:
            column.header = _fit(column.header, console)
            column._cells = [_fit(cell, console) for cell in column.cells]
    return item


def _fit_text(text: Text, console: Console) -> Text:
    from rich.text import Text

    pieces = ((fitted(s.text, console.encoding, lines=True), s.style or "")
              for s in text.render(console))  # fmt: skip
    return Text.assemble(*pieces, style=text.style, end=text.end)


class Inert:
    """A renderable whose text is printable whatever it was made of."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The segments of what is within; those with text made printable."""
        from rich.segment import Segment

        segments: Iterable[Segment] = console.render(self._inner, options)
        for segment in segments:
            text = segment.text if segment.control else printable(segment.text, lines=True)
            yield Segment(text, segment.style, segment.control)
