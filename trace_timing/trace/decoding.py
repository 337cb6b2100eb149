"""JSON text of events -> typed events, by the way Kineto writes them or by any other way.

Two decoders. The strict one names the few fields needed, with the types that Kineto gives them
today, of events with a duration (of all others the category alone), and is as fast as JSON can be
read from Python. Whatever it refuses, or cannot hold
exactly, goes through the loose one, which takes any type and keeps the digits of times.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar, Union

import msgspec

from trace_timing.trace.events import NONE
from trace_timing.units import NS_PER_US

#: From here on neighbouring float64 that count µs are more than 1 ns apart, so digits decide.
#: Below, a float is within 0.49 ns of the text and rint(µs × 1000) is the ns that was written.
EXACT_US = 2.0**43

#: What CUPTI writes for "no stream" and "no correlation", in 32 and in 64 bits.
INVALID = (2**32 - 1, 2**64 - 1)

#: Text that need not be copied to be decoded.
Buffer = bytes | bytearray | memoryview


class Args(msgspec.Struct, gc=False, frozen=True):
    """The arguments of an event that analysis uses; NONE where absent."""

    device: int = NONE
    stream: int = NONE
    correlation: int = NONE
    bytes: int = NONE
    graph: int = msgspec.field(default=NONE, name="graph id")
    graph_node: int = msgspec.field(default=NONE, name="graph node id")
    wait_stream: int = msgspec.field(default=NONE, name="wait_on_stream")
    wait_correlation: int = msgspec.field(default=NONE, name="wait_on_cuda_event_record_corr_id")


Category = TypeVar("Category")


class Event(msgspec.Struct, gc=False, tag_field="ph"):
    """An event of any phase."""

    cat: str = ""

    @property
    def label(self) -> str:
        """Its category; its phase where it has none."""
        return self.cat or f"ph {self.__struct_config__.tag}"


class Complete(Event, Generic[Category], gc=False, tag="X"):
    """An event with a duration; its times are µs, NaN where absent."""

    cat: Category = ""  # type: ignore[assignment]
    name: str = ""
    pid: int | str = ""
    tid: int | str = ""
    ts: float = float("nan")
    dur: float = float("nan")
    args: Args = Args()


class LooseArgs(msgspec.Struct, gc=False):
    """The fields of Args, of any type."""

    device: Any = NONE
    stream: Any = NONE
    correlation: Any = NONE
    bytes: Any = NONE
    graph: Any = msgspec.field(default=NONE, name="graph id")
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

    @property
    def complete(self) -> bool:
        """Whether it has a duration."""
        return bool(self.ph == "X")

    @property
    def label(self) -> str:
        """Its category; its phase where it has none."""
        return _text(self.cat) or f"ph {_text(self.ph)}"

    def strict(self) -> Complete[str]:
        """The same event as Kineto would type it, without its times."""
        return Complete(
            cat=_text(self.cat),
            name=_text(self.name),
            pid=_whole_or_text(self.pid),
            tid=_whole_or_text(self.tid),
            args=self.args.strict() if isinstance(self.args, LooseArgs) else Args(),
        )


#: Every phase but X of the Trace Event Format:
#: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
_OTHER_PHASES = "BEiICbneSTpFstfPNODMVvRc(),"
#: Categories that Kineto writes (libkineto/src/ActivityType.cpp, output_json.cpp). Strings that a
#: decoder knows are neither made nor hashed anew.
_CATEGORIES = (
    "", "Trace", "ac2g", "fwdbwd", "cpu_op", "user_annotation", "gpu_user_annotation",
    "gpu_memcpy", "gpu_memset", "kernel", "cuda_runtime", "cuda_driver", "cuda_sync", "cuda_event",
    "cuda_profiler_range", "python_function", "overhead", "cpu_instant_event", "collective_comm",
    "gpu_pm_counter", "privateuse1_runtime", "privateuse1_driver", "xpu_runtime", "xpu_driver",
    "mtia_runtime", "mtia_ccp_events", "mtia_insight", "hpu_op", "hip_runtime", "hip_driver",
)  # fmt: skip

EventsDecoder = msgspec.json.Decoder[list[Event]]


def _decoder(category: Any) -> EventsDecoder:
    others = [
        msgspec.defstruct(
            f"Phase{ord(p)}", [("cat", category, "")], bases=(Event,), gc=False, tag=p
        )
        for p in _OTHER_PHASES
    ]
    any_phase: Any = Union[(Complete[category], *others)]
    return msgspec.json.Decoder(list[any_phase])


_known, _strict = _decoder(Literal[_CATEGORIES]), _decoder(str)
_loose = msgspec.json.Decoder(list[LooseEvent])


class StrictDecoder:
    """Decodes the pieces of one trace."""

    def __init__(self) -> None:
        self._decoder = _known

    def __call__(self, array: Buffer) -> list[Event]:
        """Events of a JSON array.

        Raises:
            msgspec.ValidationError: it is written in a way that only `decode_loosely` reads.
            msgspec.DecodeError: it is not one whole JSON array.
        """
        try:
            return self._decoder.decode(array)
        except msgspec.ValidationError:
            events = _strict.decode(array)
        self._decoder = _strict  # it was a category: there may be more of its kind
        return events


def decode_loosely(array: Buffer) -> list[LooseEvent]:
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


def quote_non_finite(data: Buffer) -> bytes:
    """Put the tokens NaN, Infinity and inf, which JSON does not know, into quotes.

    C++ streams and Python's json write them (a bandwidth over a zero duration); as strings they
    pass where nobody needs them and are named where they are a time.
    """

    def quoted(match: re.Match[bytes]) -> bytes:
        token = match.group()
        return token if token.startswith(b'"') else b'"' + token + b'"'

    return _STRING_OR_NON_FINITE.sub(quoted, data)
