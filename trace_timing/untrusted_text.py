"""Text of others (ids, names, reasons) made harmless for a terminal, a log or a spreadsheet."""

from __future__ import annotations

import re

#: Control characters but tab: ESC and CSI begin terminal commands, CR and BS overwrite, a newline
#: begins what looks like a line of ours. And the marks that turn the direction of text after them.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_UNSAFE_IN_LINES = re.compile(_UNSAFE.pattern.replace("\x0a", "\x0b", 1))
#: What spreadsheets take for a formula, whatever the quotes of the CSV around it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def printable(text: str, *, lines: bool = False) -> str:
    """The text with what would command a terminal written out, as `\\x1b`.

    Args:
        lines: the text is several lines of ours, so newlines stay.
    """
    return (_UNSAFE_IN_LINES if lines else _UNSAFE).sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def cell(text: str) -> str:
    """The text as a CSV cell that no spreadsheet runs: an apostrophe before what begins a formula.

    Text that is a number, as "-5", stays one.
    """
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text if text == text.strip() else "'" + text
