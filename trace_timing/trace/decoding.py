"""JSON text of events -> typed events, by the way Kineto writes them or by any other way.

Two decoders. The strict one names the few fields needed, with the types that Kineto gives them
today, and is as fast as JSON can be read from Python. Whatever it refuses, or cannot hold
exactly, goes through the loose one, which takes any type and keeps the digits of times.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

from trace_timing.trace.events import NONE
from trace_timing.units import NS_PER_US

#: From here on neighbouring float64 that count µs are more than 1 ns apart, so digits decide.
#: Below, a float is within 0.49 ns of the text and rint(µs × 1000) is the ns that was written.
EXACT_US = 2.0**43

#: What CUPTI writes for "no stream" and "no correlation", in 32 and in 64 bits.
INVALID = (2**32 - 1, 2**64 - 1)


class Args(msgspec.Struct, gc=False, frozen=True):
    """The arguments of an event that analysis uses; NONE where absent."""

    device: int = NONE
    stream: int = NONE
    correlation: int = NONE
    bytes: int = NONE
    graph_node: int = msgspec.field(default=NONE, name="graph node id")
    wait_stream: int = msgspec.field(default=NONE, name="wait_on_stream")
    wait_correlation: int = msgspec.field(default=NONE, name="wait_on_cuda_event_record_corr_id")


class Event(msgspec.Struct, gc=False):
    """An event; its times are µs, NaN where absent."""

    ph: str = ""
    cat: str = ""
    name: str = ""
    ts: float = float("nan")
    dur: float = float("nan")
    pid: int | str = ""
    tid: int | str = ""
    args: Args = Args()


class LooseArgs(msgspec.Struct, gc=False):
    """The fields of Args, of any type."""

    device: Any = NONE
    stream: Any = NONE
    correlation: Any = NONE
    bytes: Any = NONE
    graph_node: Any = msgspec.field(default=NONE, name="graph node id")
    wait_stream: Any = msgspec.field(default=NONE, name="wait_on_stream")
    wait_correlation: Any = msgspec.field(default=NONE, name="wait_on_cuda_event_record_corr_id")

    def strict(self) -> Args:
        """The same as integers; NONE for what is none."""
        return Args(*map(whole, msgspec.structs.astuple(self)))


class LooseEvent(msgspec.Struct, gc=False):
    """An event whose fields may have any type; its times are the text that was written."""

    ph: Any = None
    cat: Any = None
    name: Any = None
    ts: msgspec.Raw = msgspec.Raw(b"null")
    dur: msgspec.Raw = msgspec.Raw(b"null")
    pid: Any = None
    tid: Any = None
    args: LooseArgs | list[Any] | str | float | bool | None = None

    def strict(self) -> Event:
        """The same event as Kineto would type it, without its times."""
        return Event(
            ph=_text(self.ph),
            cat=_text(self.cat),
            name=_text(self.name),
            pid=_whole_or_text(self.pid),
            tid=_whole_or_text(self.tid),
            args=self.args.strict() if isinstance(self.args, LooseArgs) else Args(),
        )


_strict = msgspec.json.Decoder(list[Event])
_loose = msgspec.json.Decoder(list[LooseEvent])


def decode_strictly(array: bytes) -> list[Event]:
    """Events of a JSON array.

    Raises:
        msgspec.ValidationError: it is written in a way that only `decode_loosely` reads.
        msgspec.DecodeError: it is not one whole JSON array.
    """
    return _strict.decode(array)


def decode_loosely(array: bytes) -> list[LooseEvent]:
    """Events of a JSON array whose fields may have any type, NaN among them.

    Raises:
        msgspec.DecodeError: it is not one whole JSON array of objects.
    """
    try:
        return _loose.decode(array)
    except msgspec.DecodeError:
        quoted = quote_non_finite(array)
        if quoted == array:
            raise
    return _loose.decode(quoted)


def ns_from_us_text(raw: msgspec.Raw) -> int | None:
    """Exact nanoseconds of microseconds in JSON digits; None where they are no finite number.

    Digits past the nanosecond are rounded to the nearest, half to even.
    """
    text = bytes(raw).decode().strip('"')
    if text[-4:-3] == "." and text[:-4].isdecimal() and text[-3:].isdecimal():
        return int(text[:-4] + text[-3:])  # as Kineto writes them; Decimal is ten times slower
    try:
        exact = Decimal(text) * NS_PER_US
        ns = int(exact.to_integral_value()) if exact.is_finite() else None
    except ArithmeticError:
        return None
    return ns if ns is not None and abs(ns) < 2**63 else None


def whole(value: Any) -> int:
    """An integer written as one, as decimal text or as hex text ("0x7f…"); NONE for anything else.

    ROCm's queue handles fill 64 bits unsigned: the upper half wraps, which keeps them apart.
    """
    if value == NONE:
        return NONE
    try:
        number = int(value, 0) if isinstance(value, str) else int(value)
    except (TypeError, ValueError, OverflowError):
        return NONE
    if number in INVALID or not -(2**63) <= number < 2**64:
        return NONE
    return number if number < 2**63 else number - 2**64


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _whole_or_text(value: Any) -> int | str:
    return value if isinstance(value, int) else _text(value)


_STRING_OR_NON_FINITE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|nan|Infinity|inf)\b', re.DOTALL)


def quote_non_finite(data: bytes) -> bytes:
    """Put the tokens NaN, Infinity and inf, which JSON does not know, into quotes.

    C++ streams and Python's json write them (a bandwidth over a zero duration); as strings they
    pass where nobody needs them and are named where they are a time.
    """

    def quoted(match: re.Match[bytes]) -> bytes:
        token = match.group()
        return token if token.startswith(b'"') else b'"' + token + b'"'

    return _STRING_OR_NON_FINITE.sub(quoted, data)
