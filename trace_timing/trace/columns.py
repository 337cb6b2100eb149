"""Decoded Kineto events -> columns of exact integers, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from trace_timing.trace.events import NONE, Events, Kind
from trace_timing.units import NS_PER_US, IntArray

#: Kineto's categories. ROCm builds write their runtime calls as cuda_runtime or under names
#: of their own, by version.
KIND_OF_CATEGORY: Mapping[str, Kind] = {
    "user_annotation": Kind.RANGE,
    "cuda_runtime": Kind.CALL,
    "cuda_driver": Kind.CALL,
    "hip_runtime": Kind.CALL,
    "hip_driver": Kind.CALL,
    "runtime": Kind.CALL,
    "driver": Kind.CALL,
    "privateuse1_runtime": Kind.CALL,
    "privateuse1_driver": Kind.CALL,
    "kernel": Kind.KERNEL,
    "gpu_memcpy": Kind.MEMCPY,
    "gpu_memset": Kind.MEMSET,
    "cpu_op": Kind.CPU_OP,
    "overhead": Kind.OVERHEAD,
    "cuda_sync": Kind.SYNC,
}

#: From here on neighbouring float64 are more than 1 ns apart when they count µs, so digits
#: decide: below it |float error| < 0.49 ns and rint(ts × 1000) is the number that was written.
EXACT_US = 2.0**43

#: What CUPTI writes for "no stream" and "no correlation" in 32 and 64 bits.
_INVALID = frozenset({2**32 - 1, 2**64 - 1})

Number = float | str | None
Whole = int | str | float | None


class Args(msgspec.Struct, gc=False):
    """The few arguments of an event that analysis uses."""

    device: Whole = None
    stream: Whole = None
    correlation: Whole = None
    bytes: Whole = None
    graph_node: Whole = msgspec.field(default=None, name="graph node id")
    wait_stream: Whole = msgspec.field(default=None, name="wait_on_stream")
    wait_correlation: Whole = msgspec.field(default=None, name="wait_on_cuda_event_record_corr_id")


class Event(msgspec.Struct, gc=False):
    """An event whose timestamps a float64 holds exactly enough (see EXACT_US)."""

    ph: str | None = None
    cat: str | None = None
    name: Any = None
    ts: Number = None
    dur: Number = None
    pid: Whole = None
    tid: Whole = None
    args: Args | None = None


class DigitsEvent(msgspec.Struct, gc=False):
    """An event whose timestamp is kept as the text that was written."""

    ph: str | None = None
    cat: str | None = None
    name: Any = None
    ts: msgspec.Raw = msgspec.Raw(b"null")
    dur: Number = None
    pid: Whole = None
    tid: Whole = None
    args: Args | None = None


AnyEvent = Event | DigitsEvent


@dataclass
class Columns:
    """Grows by chunks; `events()` joins them.

    Args:
        cpu_ops: keep CPU ops too.
    """

    cpu_ops: bool
    names: dict[str, int] = field(default_factory=dict)
    threads: dict[tuple[str, str], int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    chunks: list[Events] = field(default_factory=list)
    bad: BadEvents = field(default_factory=lambda: BadEvents())
    fractions_seen: bool = False

    def add(self, events: Iterable[AnyEvent]) -> None:
        """Keep what analysis uses of these events and count the rest by category."""
        kinds = []
        kept = []
        for event in events:
            kind = KIND_OF_CATEGORY.get(event.cat or "")
            if event.ph != "X" or kind is None or (kind is Kind.CPU_OP and not self.cpu_ops):
                label = event.cat or f"ph {event.ph}"
                self.skipped[label] = self.skipped.get(label, 0) + 1
            else:
                kinds.append(kind)
                kept.append(event)
        if kept:
            self.chunks.append(self._columns(np.array(kinds, np.uint8), kept))

    def _columns(self, kind: npt.NDArray[np.uint8], kept: list[AnyEvent]) -> Events:
        args = [event.args or _NO_ARGS for event in kept]
        on_device = kind_in(kind, Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET, Kind.SYNC)
        device = _whole(map(attrgetter("device"), args))
        stream = _whole(map(attrgetter("stream"), args))
        for row in np.flatnonzero(on_device & ((device == NONE) | (stream == NONE))):
            # Some writers leave the arguments out; the track still says where it ran.
            device[row] = _whole_or_none(kept[row].pid) if device[row] == NONE else device[row]
            stream[row] = _whole_or_none(kept[row].tid) if stream[row] == NONE else stream[row]
        return Events(
            kind=kind,
            name=np.array([self._name(event.name) for event in kept], np.int32),
            start_ns=self._times(kept, "ts"),
            dur_ns=self._times(kept, "dur"),
            thread=np.where(on_device, NONE, self._thread_ids(kept)).astype(np.int32),
            device=np.where(on_device, device, NONE).astype(np.int32),
            stream=np.where(on_device, stream, NONE),
            correlation=_whole(map(attrgetter("correlation"), args)),
            size_bytes=_whole(map(attrgetter("bytes"), args)),
            graph_node=_whole(map(attrgetter("graph_node"), args)),
            wait_stream=_whole(map(attrgetter("wait_stream"), args)),
            wait_correlation=_whole(map(attrgetter("wait_correlation"), args)),
        )

    def _name(self, name: Any) -> int:
        text = name if isinstance(name, str) else str(name)
        return self.names.setdefault(text, len(self.names))

    def _thread_ids(self, kept: list[AnyEvent]) -> npt.NDArray[np.int32]:
        known = self.threads
        keys = [(str(event.pid), str(event.tid)) for event in kept]
        host = [KIND_OF_CATEGORY[event.cat or ""] not in _DEVICE_KINDS for event in kept]
        return np.array(
            [
                known.setdefault(key, len(known)) if on_host else NONE
                for key, on_host in zip(keys, host, strict=True)
            ],
            np.int32,
        )

    def _times(self, kept: list[AnyEvent], what: str) -> IntArray:
        out = np.zeros(len(kept), np.int64)
        for row, event in enumerate(kept):
            value = getattr(event, what)
            ns = ns_from_us(value)
            if ns is None or (what == "dur" and ns < 0):
                self.bad.note(event, what, value)
            else:
                out[row] = ns
        if not self.fractions_seen:
            self.fractions_seen = bool((out % NS_PER_US).any())
        return out

    def events(self) -> Events:
        """All rows so far, in file order."""
        return Events(
            **{
                name: np.concatenate([np.zeros(0, dtype), *(getattr(c, name) for c in self.chunks)])
                for name, dtype in _DTYPES.items()
            }
        )


@dataclass
class BadEvents:
    """Events whose times cannot be used: how many, and the first of them."""

    count: int = 0
    first: str = ""

    def note(self, event: AnyEvent, what: str, value: Any) -> None:
        """Count one more."""
        self.count += 1
        if not self.first:
            shown = bytes(value).decode() if isinstance(value, msgspec.Raw) else value
            missing = shown is None or shown == "null"
            self.first = f"{event.name!r} ({event.cat}) " + (
                f"has no {what}" if missing else f"has {what} = {shown}"
            )


_NO_ARGS = Args()
_DEVICE_KINDS = (Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET, Kind.SYNC)
_DTYPES: Mapping[str, type] = {
    "kind": np.uint8,
    "name": np.int32,
    "start_ns": np.int64,
    "dur_ns": np.int64,
    "thread": np.int32,
    "device": np.int32,
    "stream": np.int64,
    "correlation": np.int64,
    "size_bytes": np.int64,
    "graph_node": np.int64,
    "wait_stream": np.int64,
    "wait_correlation": np.int64,
}


def kind_in(kind: npt.NDArray[np.uint8], *kinds: Kind) -> npt.NDArray[np.bool_]:
    """Whether each kind is one of these."""
    return np.isin(kind, kinds)


def ns_from_us(value: Any) -> int | None:
    """Exact nanoseconds of microseconds given as a float, as text or as raw JSON digits.

    None where the value is missing or is no finite number.
    """
    if isinstance(value, msgspec.Raw):
        value = bytes(value).decode().strip('"')
        if value == "null":
            return None
    if isinstance(value, float) and abs(value) < EXACT_US:
        return round(value * NS_PER_US)
    if value is None:
        return None
    try:
        exact = Decimal(value) * NS_PER_US
        return int(exact.to_integral_value()) if exact.is_finite() else None
    except ArithmeticError:
        return None


def _whole(values: Iterable[Whole]) -> IntArray:
    return np.fromiter(map(_whole_or_none, values), np.int64)


def _whole_or_none(value: Whole) -> int:
    """An integer written as such, as hex text ("0x7f…") or as decimal text; else NONE."""
    if value is None:
        return NONE
    if isinstance(value, str):
        try:
            value = int(value, 0)
        except ValueError:
            return NONE
    whole = int(value)
    if whole in _INVALID:
        return NONE
    # Hex queue handles of ROCm fill 64 bits: keep them apart within a signed column.
    return whole if whole < 2**63 else whole - 2**64
