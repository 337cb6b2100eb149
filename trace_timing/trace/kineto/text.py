"""Repair invalid strings and numbers in JSON text.

C++ streams and Python's json write bare NaN and infinities (a bandwidth over a zero duration), in
several spellings by platform. Kineto has written paths with bare backslashes, control characters
and bytes that are no UTF-8 into strings. None of these concern times, so the trace is still usable.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import msgspec

#: Text that need not be copied to be decoded.
Buffer = bytes | bytearray | memoryview

#: Exceptions of decoding for text that is not JSON, not of the expected types, or nested too
#: deeply.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

#: Possessive repetition (from Python 3.11 on), which remembers no alternatives, so that a string of
#: a million escapes takes no memory.
_REPEATED = b"*+" if sys.version_info >= (3, 11) else b"*"
#: A JSON string, or one without an end, matched in one pass.
STRING = rb'"[^"\\]*(?:\\.[^"\\]*)' + _REPEATED + rb'"?'
#: Bare NaN and infinities, as glibc, Python and the C runtimes of Windows write them.
_NON_FINITE = rb"-?\b(?:NaN|nan|Infinity|inf)\b(?:\(\w{1,8}\))?|-?\b1\.#[A-Z]{2,4}\d*"
_TOKEN = re.compile(STRING + rb"|" + _NON_FINITE, re.DOTALL)

_SURROGATES = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
#: Escapes, matched in sequence, so that the second half of an escaped backslash begins none.
_ESCAPE = re.compile(_SURROGATES + rb"|\\u[0-9a-fA-F]{4}|\\.?|[\x00-\x1f]", re.DOTALL)
#: A string with only JSON's escapes and no control characters; half surrogate pairs are possible.
_GOOD = re.compile(
    rb'[^\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^\\\x00-\x1f]*)' + _REPEATED
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
#: Longest string that is repaired; longer ones are no names.
_MOST_BYTES = 1 << 20
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]..")
_KNOWN_ESCAPES = frozenset(b'"\\/bfnrt')
_MOST_SHOWN = 80


@dataclass
class Repairs:
    """Strings that were not valid JSON and were repaired: how many, and the first."""

    count: int = 0
    first: str = ""

    def add(self, other: Repairs) -> None:
        """Count those of another piece of the document."""
        self.first = self.first or other.first
        self.count += other.count


def repaired(data: Buffer) -> tuple[bytes, Repairs]:
    """The text with invalid strings and bare numbers repaired.

    Bytes that are no UTF-8 and half surrogate pairs become the replacement character; a backslash
    that begins no escape becomes a literal one; control characters are escaped; NaN and infinities
    become strings, which cause an error only where they are needed, as times.
    """
    repairs, text = Repairs(), bytes(data)
    all_utf8 = _is_utf8(text)
    right = bytearray()
    done = 0
    # Not by re.sub, which would hold every string of the text at once.
    for match in _TOKEN.finditer(text):
        token = match.group()
        new = _put_right(token, all_utf8) if token.startswith(b'"') else b'"' + token + b'"'
        if new == token:
            continue
        if token.startswith(b'"'):
            repairs.count += 1
            repairs.first = repairs.first or shown(token)
        right += text[done : match.start()] + new
        done = match.end()
    return bytes(right + text[done:]) if done else text, repairs


def _put_right(token: bytes, is_utf8: bool) -> bytes:
    if len(token) > _MOST_BYTES:
        return token
    right = token if is_utf8 or _is_utf8(token) else token.decode(errors="replace").encode()
    if _GOOD.fullmatch(right) and not _SURROGATE.search(right):
        return right
    return _ESCAPE.sub(_escaped, right)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _escaped(match: re.Match[bytes]) -> bytes:
    token = match.group()
    if len(token) == 12:
        return token  # a whole pair
    if len(token) == 6:
        return rb"\ufffd" if _LONE_SURROGATE.fullmatch(token) else token
    if token[:1] != b"\\":
        return b"\\u%04x" % token[0]
    if len(token) == 2 and token[1] in _KNOWN_ESCAPES:
        return token
    return b"\\\\" + _ESCAPE.sub(_escaped, token[1:])


def shown(text: bytes) -> str:
    """A part of a document for a message, shortened and printable."""
    whole = text[: 4 * _MOST_SHOWN].decode("utf-8", "replace").strip('"')
    cut = "".join(c if c.isprintable() else "\ufffd" for c in whole[:_MOST_SHOWN])
    return cut + ("…" if len(whole) > _MOST_SHOWN else "")
