"""The one place that commands print through: what others wrote cannot command the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from trace_timing.untrusted_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult


def say(text: str, *, err: bool = False) -> None:
    """One line on stdout, or on stderr."""
    click.echo(printable(text), err=err)


def say_json(data: bytes) -> None:
    """A JSON text on stdout, with the control characters that JSON allows in strings escaped."""
    text = data.decode()
    # Those below U+0020 JSON itself escapes; newlines between its values stay.
    escaped = "".join(_json_escape(c) if "\x7f" <= c <= "\x9f" else c for c in text)
    sys.stdout.buffer.write(escaped.encode() + b"\n")
    sys.stdout.flush()


def _json_escape(character: str) -> str:
    return f"\\u{ord(character):04x}"


def show(console: Console, *renderables: RenderableType) -> None:
    """Tables and texts of rich; a str is shown as it is, without markup."""
    from rich.text import Text

    for item in renderables:
        console.print(Inert(Text(item) if isinstance(item, str) else item))


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
