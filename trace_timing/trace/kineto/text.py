"""JSON text that is not quite JSON: what writers get wrong in strings and numbers, put right.

C++ streams and Python's json write NaN and infinities bare (a bandwidth over a zero duration), by
platform in several spellings. Kineto has written paths with bare backslashes, control characters
and bytes that are no UTF-8 into strings. None of it touches a time, so it need not cost a trace.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import msgspec

#: Text that need not be copied to be decoded.
Buffer = bytes | bytearray | memoryview

#: What decoding raises of text that is not JSON, or not of the expected types, or that nests
#: deeper than a decoder can follow.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

#: From Python 3.11 on a repetition can be told never to be taken back, so that none is remembered:
#: a string of a million escapes takes no memory.
_REPEATED = b"*+" if sys.version_info >= (3, 11) else b"*"
#: A JSON string, or one that never ends: matched in one pass.
STRING = rb'"[^"\\]*(?:\\.[^"\\]*)' + _REPEATED + rb'"?'
#: Bare numbers that are none, as glibc, Python and the C runtimes of Windows write them.
_NON_FINITE = rb"-?\b(?:NaN|nan|Infinity|inf)\b(?:\(\w{1,8}\))?|-?\b1\.#[A-Z]{2,4}\d*"
_TOKEN = re.compile(STRING + rb"|" + _NON_FINITE, re.DOTALL)

_SURROGATES = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
#: Escapes one after the other, so that of an escaped backslash the second half begins none.
_ESCAPE = re.compile(_SURROGATES + rb"|\\u[0-9a-fA-F]{4}|\\.?|[\x00-\x1f]", re.DOTALL)
#: Only escapes that JSON knows, and no control character; half a pair may be among them.
_GOOD = re.compile(
    rb'[^\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^\\\x00-\x1f]*)' + _REPEATED
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
#: A longer string is no name, and is left as it is.
_MOST_BYTES = 1 << 20
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]..")
_KNOWN_ESCAPES = frozenset(b'"\\/bfnrt')
_MOST_SHOWN = 80


@dataclass
class Repairs:
    """Strings that were not valid JSON and were put right: how many, and the first."""

    count: int = 0
    first: str = ""

    def add(self, other: Repairs) -> None:
        """Count those of another piece of the document."""
        self.first = self.first or other.first
        self.count += other.count


def repaired(data: Buffer) -> tuple[bytes, Repairs]:
    """The text with strings and bare numbers put right, where they were wrong.

    Bytes that are no UTF-8 become the replacement character; a backslash that begins no escape
    stands for itself; control characters are escaped; half a surrogate pair becomes the
    replacement character; NaN and infinities become strings, which pass where nobody needs them
    and are named where they are a time.
    """
    repairs, text = Repairs(), bytes(data)
    all_utf8 = _is_utf8(text)
    right = bytearray()
    done = 0
    # Not by re.sub, which holds every string of the text at once.
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
    """Some text of a document for a message: printable, and not long."""
    whole = text[: 4 * _MOST_SHOWN].decode("utf-8", "replace").strip('"')
    cut = "".join(c if c.isprintable() else "\ufffd" for c in whole[:_MOST_SHOWN])
    return cut + ("…" if len(whole) > _MOST_SHOWN else "")
