"""Events of a trace, piece by piece -> columns of exact integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import compress
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from trace_timing.trace.decoding import (
    EXACT_US,
    INVALID,
    Event,
    decode_loosely,
    decode_strictly,
    ns_from_us_text,
    whole,
)
from trace_timing.trace.events import GPU_OP_KINDS, NONE, Events, Kind
from trace_timing.units import NS_PER_US, BoolArray, IntArray

#: Kineto's categories. ROCm builds write their API calls as cuda_runtime or, by version, under
#: names of their own; other back ends as privateuse1.
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
DTYPES: Mapping[str, type[np.generic]] = {
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
_ON_DEVICE = np.isin(np.arange(len(Kind)), (*GPU_OP_KINDS, Kind.SYNC))
_FIRST_UNKNOWN = 64


class Codes(dict[Any, int]):
    """Numbers keys as they are first met; a plain `codes[key]` looks up or adds."""

    def __init__(self, known: Mapping[Any, int] | None = None, first: int = 0) -> None:
        super().__init__(known or {})
        self._next = first

    def __missing__(self, key: Any) -> int:
        self[key] = code = self._next
        self._next += 1
        return code


class Columns:
    """Grows a piece at a time; `events()` joins them.

    Args:
        cpu_ops: keep CPU ops too.
    """

    def __init__(self, cpu_ops: bool) -> None:
        kept = {cat: int(k) for cat, k in KIND_OF_CATEGORY.items() if cpu_ops or k != Kind.CPU_OP}
        self._categories = Codes(kept, first=_FIRST_UNKNOWN)
        self._names = Codes()
        self._threads = Codes()
        self._chunks: list[Events] = []
        self._loosely = False
        self._fractions = False
        #: Events that are not kept, by category, or by phase where they have none.
        self.skipped: Counter[str] = Counter()
        #: Events whose times cannot be used: how many, and what is wrong with the first.
        self.bad_count = 0
        self.first_bad = ""

    def add(self, array: bytes) -> None:
        """Keep what analysis uses of a JSON array of events and count the rest.

        Raises:
            msgspec.DecodeError: it is not one whole JSON array of objects; nothing was added.
        """
        if not self._loosely:
            try:
                if self._add_strictly(array):
                    return
            except (msgspec.DecodeError, OverflowError):
                pass  # another type, NaN, or not JSON at all: the loose reader tells these apart
        self._add_loosely(array)

    def events(self) -> Events:
        """All rows so far, in file order."""
        joined = {
            name: np.concatenate([np.zeros(0, dtype), *(getattr(c, name) for c in self._chunks)])
            for name, dtype in DTYPES.items()
        }
        return Events(**joined)

    @property
    def names(self) -> tuple[str, ...]:
        """What Events.name points into."""
        return tuple(self._names)

    @property
    def threads(self) -> tuple[tuple[str, str], ...]:
        """What Events.thread points into."""
        return tuple((str(pid), str(tid)) for pid, tid in self._threads)

    @property
    def rounded_to_us(self) -> bool:
        """Whether every time is a whole µs."""
        return bool(self._chunks) and not self._fractions

    def _add_strictly(self, array: bytes) -> bool:
        """Whether float64 held the times of the kept events exactly; if not, nothing was added."""
        events = decode_strictly(array)
        kind, keep = self._kinds(events)
        kept = list(compress(events, keep))
        ts = np.fromiter(map(attrgetter("ts"), kept), np.float64, len(kept))
        dur = np.fromiter(map(attrgetter("dur"), kept), np.float64, len(kept))
        # NaN fails these comparisons too.
        if not ((np.abs(ts) < EXACT_US) & (dur >= 0) & (dur < EXACT_US)).all():
            self._loosely = bool((np.abs(ts) >= EXACT_US).any())
            return False
        self._count_skipped(events, kind, keep)
        self._append(kind[keep], kept, _whole_ns(ts), _whole_ns(dur))
        return True

    def _add_loosely(self, array: bytes) -> None:
        loose = decode_loosely(array)
        events = [event.strict() for event in loose]
        kind, keep = self._kinds(events)
        kept = list(compress(events, keep))
        start_ns = np.zeros(len(kept), np.int64)
        dur_ns = np.zeros(len(kept), np.int64)
        for row, (event, source) in enumerate(zip(kept, compress(loose, keep), strict=True)):
            start, dur = ns_from_us_text(source.ts), ns_from_us_text(source.dur)
            if start is None:
                self._note_bad(event, "ts", source.ts)
            elif dur is None or dur < 0:
                self._note_bad(event, "dur", source.dur)
            else:
                start_ns[row], dur_ns[row] = start, dur
        self._count_skipped(events, kind, keep)
        self._append(kind[keep], kept, start_ns, dur_ns)

    def _kinds(self, events: list[Event]) -> tuple[IntArray, BoolArray]:
        kind = _column(events, "cat", np.int64, self._categories.__getitem__)
        keep = kind < _FIRST_UNKNOWN
        phases = set(map(attrgetter("ph"), compress(events, keep)))
        if phases - {"X"}:
            keep &= np.fromiter((event.ph == "X" for event in events), np.bool_, len(events))
        return kind, keep

    def _count_skipped(self, events: list[Event], kind: IntArray, keep: BoolArray) -> None:
        counts = np.bincount(kind[~keep])
        for category, code in self._categories.items():
            if category and code < len(counts) and code >= _FIRST_UNKNOWN and counts[code]:
                self.skipped[category] += int(counts[code])
        left = ~keep & ((kind < _FIRST_UNKNOWN) | (kind == self._categories[""]))
        for event in compress(events, left):
            self.skipped[event.cat or f"ph {event.ph}"] += 1

    def _note_bad(self, event: Event, field: str, raw: msgspec.Raw) -> None:
        self.bad_count += 1
        if not self.first_bad:
            text = bytes(raw).decode()
            state = f"has no {field}" if text == "null" else f"has {field} = {text}"
            self.first_bad = f"{event.cat} event {event.name!r} {state}"

    def _append(
        self, kind: IntArray, kept: list[Event], start_ns: IntArray, dur_ns: IntArray
    ) -> None:
        if not kept:
            return
        device_rows = _ON_DEVICE[kind]
        on_device, on_host = _Rows(kept, device_rows), _Rows(kept, ~device_rows)
        syncs = _Rows(kept, kind == Kind.SYNC)
        everything = _Rows(kept, np.ones(len(kept), np.bool_))
        device, stream = on_device.arg("device"), on_device.arg("stream")
        if (device[device_rows] == NONE).any() or (stream[device_rows] == NONE).any():
            _place_by_track(kept, kind, device, stream)
        self._fractions |= bool((start_ns % NS_PER_US).any() or (dur_ns % NS_PER_US).any())
        chunk = Events(
            kind=kind.astype(np.uint8),
            name=_column(kept, "name", np.int32, self._names.__getitem__),
            start_ns=start_ns,
            dur_ns=dur_ns,
            thread=on_host.fill(
                map(self._threads.__getitem__, map(attrgetter("pid", "tid"), on_host.events))
            ).astype(np.int32),
            device=device.astype(np.int32),
            stream=stream,
            correlation=everything.arg("correlation"),
            size_bytes=everything.arg("bytes"),
            graph_node=on_device.arg("graph_node"),
            wait_stream=syncs.arg("wait_stream"),
            wait_correlation=syncs.arg("wait_correlation"),
        )
        self._chunks.append(chunk)


class _Rows:
    """Some rows of a piece, to fill a column from; the others are NONE."""

    def __init__(self, events: list[Event], rows: BoolArray) -> None:
        self.rows = rows
        self.events = list(compress(events, rows))
        self._args = list(map(attrgetter("args"), self.events))

    def none(self) -> IntArray:
        return np.full(len(self.rows), NONE, np.int64)

    def fill(self, values: Iterable[int]) -> IntArray:
        column = self.none()
        column[self.rows] = np.fromiter(values, np.int64, len(self.events))
        return column

    def arg(self, name: str) -> IntArray:
        column = self.fill(map(attrgetter(name), self._args))
        column[column == INVALID[0]] = NONE
        return column


def _column(
    events: list[Event], field: str, dtype: type[np.generic], code: Callable[[Any], int]
) -> npt.NDArray[Any]:
    return np.fromiter(map(code, map(attrgetter(field), events)), dtype, len(events))


def _whole_ns(us: npt.NDArray[np.float64]) -> IntArray:
    return np.rint(us * NS_PER_US).astype(np.int64)


def _place_by_track(kept: list[Event], kind: IntArray, device: IntArray, stream: IntArray) -> None:
    """GPU ops without these arguments: Kineto's track of one is pid = device, tid = stream."""
    for row in np.flatnonzero(np.isin(kind, GPU_OP_KINDS)):
        if device[row] == NONE:
            device[row] = whole(kept[row].pid)
        if stream[row] == NONE:
            stream[row] = whole(kept[row].tid)
