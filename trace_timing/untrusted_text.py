"""Make others' text (ids, names, reasons) harmless for a terminal, a log or a spreadsheet."""

from __future__ import annotations

import re

#: Control characters except tab (ESC and CSI begin terminal commands, CR and BS overwrite, a
#: newline could fake a line of ours), and marks that change the direction of text.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_UNSAFE_IN_LINES = re.compile(_UNSAFE.pattern.replace("\x0a", "\x0b", 1))
#: Beginnings that spreadsheets take for a formula, even in quoted cells of a CSV.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def printable(text: str, *, lines: bool = False) -> str:
    """The text with control characters escaped, as `\\x1b`.

    Args:
        lines: the text is several lines of ours, so newlines stay.
    """
    return (_UNSAFE_IN_LINES if lines else _UNSAFE).sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def cell(text: str) -> str:
    """The text as a CSV cell: control characters escaped, and no formula for a spreadsheet.

    Newlines and tabs stay. A text that a spreadsheet would run as a formula gets an apostrophe in
    front; one that is a number, such as "-5", does not.
    """
    shown = printable(text, lines=True)
    return "'" + shown if _is_formula(text) else shown


def _is_formula(text: str) -> bool:
    if not text.startswith(_FORMULA):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return text != text.strip()
