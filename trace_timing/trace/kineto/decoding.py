"""Decode the JSON text of events into typed events.

The strict decoder reads the few fields needed, with the types that Kineto writes today, of events
with a duration (of all others only the phase); it is as fast as JSON can be read from Python. Text
that it refuses, or times that it cannot hold exactly, go to the loose decoder, which accepts any
type and keeps the digits of times.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Union

import msgspec
import numpy as np

from trace_timing.arrays import FloatArray, IntArray
from trace_timing.trace.events import NONE
from trace_timing.trace.kineto.text import UNREADABLE, Buffer, Repairs, repaired
from trace_timing.units import NS_PER_US

#: From here on neighbouring float64 values of µs are more than 1 ns apart, so the digits are
#: needed. Below, a float is within 0.49 ns of the text, and `ns_from_us` gives the ns that was
#: written.
EXACT_US = 2.0**43
#: Nanoseconds from here on do not fit int64.
_FIRST_TOO_LARGE_NS = 2**63
#: Longer times are parsed by Decimal, which has no limit of digits as int has.
_MOST_DIGITS = 32

#: CUPTI's values for "no stream" and "no correlation", in 32 and in 64 bits.
INVALID = (2**32 - 1, 2**64 - 1)


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


class Code(str):
    """A label's code as a character, so that the codes of many events can be joined to bytes.

    Base of enumerations: a member's value is the label in the text, by which msgspec finds it.
    """

    _value_: str

    def __new__(cls, label: str, code: int) -> Code:
        """The member for a label."""
        member = str.__new__(cls, chr(code))
        member._value_ = label
        return member


class Event(msgspec.Struct, gc=False, tag_field="ph"):
    """An event of any phase, given by its label's code."""

    label = ""


class Complete(Event, gc=False, tag="X"):
    """An event with a duration; its times are µs, NaN where absent."""

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
        """The same as integers; NONE for values that are none."""
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
        """Its category if it has a duration and a category; else its phase."""
        return (self.complete and _text(self.cat)) or phase_label(_text(self.ph))

    def strict(self) -> Complete:
        """The event in Kineto's types, without its times and label."""
        return Complete(
            name=_text(self.name),
            pid=_whole_or_text(self.pid),
            tid=_whole_or_text(self.tid),
            args=self.args.strict() if isinstance(self.args, LooseArgs) else Args(),
        )


#: Every phase of the Trace Event Format, X first:
#: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
_PHASES = "XBEiICbneSTpFstfPNODMVvRc(),"
#: Categories that Kineto writes (libkineto/src/ActivityType.cpp, output_json.cpp). Strings that a
#: decoder knows are neither made nor hashed anew.
_CATEGORIES = (
    "Trace", "cpu_op", "user_annotation", "gpu_user_annotation", "gpu_memcpy", "gpu_memset",
    "kernel", "cuda_runtime", "cuda_driver", "cuda_sync", "cuda_event", "cuda_profiler_range",
    "python_function", "overhead", "collective_comm", "privateuse1_runtime", "privateuse1_driver",
    "xpu_runtime", "xpu_driver", "mtia_runtime", "mtia_ccp_events", "mtia_insight", "hpu_op",
    "hip_runtime", "hip_driver",
)  # fmt: skip
#: A code is one byte.
_MOST_LABELS = 256


def phase_label(phase: str) -> str:
    """The label of an event that has no category, or no duration."""
    return f"ph {phase}"


#: Marks and flows, half of all events, of which only the phase is read.
_OTHERS = tuple(
    msgspec.defstruct(
        f"Phase{ord(p)}", [], bases=(Event,), gc=False, tag=p, namespace={"label": chr(code)}
    )
    for code, p in enumerate(_PHASES)
    if code
)


class _OnlyLabel(msgspec.Struct, gc=False):
    ph: str = ""
    cat: str = ""


_loose = msgspec.json.Decoder(list[LooseEvent])
_only_labels = msgspec.json.Decoder(list[_OnlyLabel])


class StrictDecoder:
    """Decodes the pieces of one trace, and learns new categories on the way."""

    def __init__(self) -> None:
        #: The label of each code: the phases, then the categories known so far.
        self.labels: tuple[str, ...] = (*map(phase_label, _PHASES), *_CATEGORIES)

    def __call__(self, array: Buffer) -> tuple[list[Event], bytes]:
        """Events of a JSON array, and the code of each one's label.

        Raises:
            msgspec.ValidationError: it has types that only `decode_loosely` reads.
            msgspec.DecodeError: it is not one whole JSON array.
        """
        try:
            events = _decoder(self.labels).decode(array)
        except msgspec.ValidationError:
            if not self._learned_from(array):
                raise
            events = _decoder(self.labels).decode(array)
        return events, "".join([event.label for event in events]).encode("latin-1")

    def _learned_from(self, array: Buffer) -> bool:
        categories = {event.cat for event in _only_labels.decode(array) if event.ph == _PHASES[0]}
        new = categories.difference(self.labels, ("",))
        if not new or len(self.labels) + len(new) > _MOST_LABELS:
            return False
        self.labels += (*sorted(new),)
        return True


@lru_cache(maxsize=8)
def _decoder(labels: tuple[str, ...]) -> msgspec.json.Decoder[list[Event]]:
    """The strict decoder that knows these labels."""
    categories = enumerate(labels[len(_PHASES) :], len(_PHASES))
    members = {f"CODE{code}": (category, code) for code, category in categories}
    # Events without a category have their phase as label.
    known: Any = Enum("Category", {"CODE0": ("", 0), **members}, type=Code)  # type: ignore[misc]
    label = ("label", known, msgspec.field(default=known(""), name="cat"))
    complete = msgspec.defstruct("Labelled", [label], bases=(Complete,), gc=False, tag=_PHASES[0])
    any_phase: Any = Union[(complete, *_OTHERS)]
    return msgspec.json.Decoder(list[any_phase])


def decode_loosely(array: Buffer) -> tuple[list[LooseEvent], Repairs]:
    """Events of a JSON array whose fields may have any type, and the repairs of its text.

    Raises:
        One of UNREADABLE: it is not one whole JSON array of objects.
    """
    try:
        return _loose.decode(array), Repairs()
    except RecursionError:
        raise  # no text to repair
    except UNREADABLE:
        right, repairs = repaired(array)
        if right == array:
            raise
    return _loose.decode(right), repairs


def ns_from_us(us: FloatArray) -> IntArray:
    """Exact nanoseconds of n microseconds with three decimals or fewer, each below EXACT_US.

    Whole and fractional µs are converted separately: from 2⁴² µs on, µs × 1000 is itself rounded to
    half a ns, and rounding again would be off by 1 ns for a quarter of all times.
    """
    whole_us = np.floor(us)
    ns: IntArray = (whole_us * NS_PER_US + np.rint((us - whole_us) * NS_PER_US)).astype(np.int64)
    return ns


def ns_from_us_text(raw: msgspec.Raw) -> int | None:
    """Exact nanoseconds of microseconds in JSON digits; None if no number, or beyond int64.

    Digits past the nanosecond are rounded to the nearest, half to even.
    """
    text = bytes(raw).decode(errors="replace").strip('"')
    if (
        len(text) < _MOST_DIGITS
        and text[-4:-3] == "."
        and text[:-4].isdecimal()
        and text[-3:].isdecimal()
    ):
        ns = int(text[:-4] + text[-3:])  # as Kineto writes them; Decimal is ten times slower
        return ns if fits(ns) else None
    try:
        exact = Decimal(text) * NS_PER_US
    except ArithmeticError:
        return None
    # An exponent can make an integer of a thousand million digits.
    if not exact.is_finite() or exact.adjusted() > len(str(_FIRST_TOO_LARGE_NS)):
        return None
    ns = int(exact.to_integral_value())
    return ns if fits(ns) else None


def fits(ns: int) -> bool:
    """Whether a time or duration fits int64."""
    return abs(ns) < _FIRST_TOO_LARGE_NS


def whole(value: Any) -> int:
    """The value of an integer, decimal text or hex text ("0x7f…"); NONE for anything else.

    ROCm's queue handles are unsigned 64-bit: the upper half wraps, so that they stay distinct.
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
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else _text(value)
