"""All printing of the commands: escapes control characters in text that others wrote."""

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

#: ASCII replacements of the other characters in this program's own texts.
_IN_ASCII = {
    **{"±": "+-", "≈": "~", "×": "x", "÷": "/", "−": "-", "–": "-", "—": "-", "…": "..."},
    **{"→": "->", "µ": "u", "μ": "u", "τ": "tau", "α": "alpha", "■": "#", "ᵀ": "T"},
    **{"⌊": "floor(", "⌋": ")", "’": "'", "‘": "'", "“": '"', "”": '"', "\xa0": " "},
}
_ERRORS = "trace-timing"


def fit_streams() -> None:
    """Let stdout and stderr replace by ASCII what they cannot encode, instead of failing."""
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
    """The text as a stream of that encoding will show it, so that its width is known.

    Args:
        lines: the text is several lines of ours, so newlines stay.
    """
    codecs.register_error(_ERRORS, _replaced)
    shown = printable(text, lines=lines)
    return shown.encode(encoding, _ERRORS).decode(encoding)


def say(text: str, *, err: bool = False) -> None:
    """Print one line on stdout, or on stderr."""
    # Not click.echo: to an ASCII stream it writes UTF-8.
    stream = sys.stderr if err else sys.stdout
    with _errors_explained(stream):
        stream.write(f"{printable(text)}\n")
        stream.flush()


@contextmanager
def _errors_explained(stream: TextIO) -> Iterator[None]:
    """Turn a failed write (a file on a full disk, say) into an error of one line."""
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
    """Print JSON on stdout, with the control characters escaped that JSON allows in strings."""
    text = data.decode()
    # JSON itself escapes those below U+0020; newlines between values stay.
    escaped = "".join(_json_escape(c) if "\x7f" <= c <= "\x9f" else c for c in text)
    with _errors_explained(sys.stdout):
        sys.stdout.buffer.write(escaped.encode() + b"\n")
        sys.stdout.flush()


def _json_escape(character: str) -> str:
    return f"\\u{ord(character):04x}"


def show(console: Console, *renderables: RenderableType) -> None:
    """Print tables and texts of rich; a str is printed without markup."""
    from rich.text import Text

    for item in renderables:
        with _errors_explained(sys.stdout):
            console.print(Inert(_fit(Text(item) if isinstance(item, str) else item, console)))


def _fit(item: Any, console: Console) -> Any:
    """An item with its texts as they will be shown, so that columns get the right width."""
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
    """A renderable with all its text made printable."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The inner renderable's segments, their text made printable."""
        from rich.segment import Segment

        segments: Iterable[Segment] = console.render(self._inner, options)
        for segment in segments:
            text = segment.text if segment.control else printable(segment.text, lines=True)
            yield Segment(text, segment.style, segment.control)
