"""Events of a trace, piece by piece -> columns of exact integers."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from trace_timing.trace.decoding import (
    EXACT_US,
    INVALID,
    Args,
    Buffer,
    Complete,
    Event,
    LooseEvent,
    StrictDecoder,
    decode_loosely,
    ns_from_us_text,
    whole,
)
from trace_timing.trace.events import DTYPES, GPU_OP_KINDS, NONE, Events, Kind
from trace_timing.units import NS_PER_US, IntArray

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
_SKIPPED = 255


def _table(*kinds: int) -> bytes:
    """1 at the place of each of these kinds, else 0: selects by bytes.translate, or as an array."""
    return bytes(kind in kinds for kind in range(256))


_KEPT, _NOT_KEPT = _table(*Kind), _table(_SKIPPED)
_ON_DEVICE = _table(*GPU_OP_KINDS, Kind.SYNC)
_ON_HOST = _table(*(k for k in Kind if not _ON_DEVICE[k]))
_SYNC = _table(Kind.SYNC)
#: Columns that only some kinds of events have.
_ROWS: Mapping[str, bytes] = {
    "thread": _ON_HOST,
    "device": _ON_DEVICE,
    "stream": _ON_DEVICE,
    "size_bytes": _ON_DEVICE,
    "graph": _ON_DEVICE,
    "graph_node": _ON_DEVICE,
    "wait_stream": _SYNC,
    "wait_correlation": _SYNC,
}
#: Arguments, in which CUPTI's "none" may stand.
_ARGUMENTS = ("size_bytes", *(name for name in DTYPES if name in Args.__struct_fields__))
_UNKNOWN = frozenset((NONE, INVALID[0]))


class Codes(dict[Any, int]):
    """Numbers keys as they are first met; a plain `codes[key]` looks up or adds."""

    def __missing__(self, key: Any) -> int:
        self[key] = code = len(self)
        return code


class Kinds(dict[str, int]):
    """Kind of a category; _SKIPPED for one that is not kept."""

    def __missing__(self, category: str) -> int:
        self[category] = _SKIPPED
        return _SKIPPED


class Columns:
    """Grows a piece at a time; `events()` makes arrays of it.

    A list comprehension and struct.pack take 20 ns a cell, numpy's own ways from objects to an
    array 33: a trace has millions of cells.

    Args:
        cpu_ops: keep CPU ops too.
    """

    def __init__(self, cpu_ops: bool) -> None:
        self._kinds = Kinds(
            {cat: int(k) for cat, k in KIND_OF_CATEGORY.items() if cpu_ops or k != Kind.CPU_OP}
        )
        self._names = Codes()
        self._threads = Codes()
        self._kind = bytearray()
        #: 64-bit integers; of columns in _ROWS, those of the kinds that have them.
        self._packed = {name: bytearray() for name in DTYPES if name != "kind"}
        self._decode = StrictDecoder()
        self._loosely = False
        #: Events that are not kept, by category, or by phase where they have none.
        self.skipped: Counter[str] = Counter()
        #: Events whose times cannot be used: how many, and what is wrong with the first.
        self.bad_count = 0
        self.first_bad = ""

    def add(self, array: Buffer) -> None:
        """Keep what analysis uses of a JSON array of events and count the rest.

        Raises:
            msgspec.DecodeError: it is not one whole JSON array of objects; nothing was added.
        """
        if not self._loosely:
            try:
                if self._add_strictly(array):
                    return
            except (msgspec.DecodeError, struct.error):
                pass  # another type, NaN, or not JSON at all: the loose reader tells these apart
        self._add_loosely(array)

    def events(self) -> Events:
        """All rows, in file order; nothing can be added any more."""
        kind = np.frombuffer(self._kind, np.uint8)
        columns = {name: _column(name, packed, kind) for name, packed in self._packed.items()}
        return Events(kind=kind, **columns)

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
        times = (np.frombuffer(self._packed[name], np.int64) for name in ("start_ns", "dur_ns"))
        return bool(self._kind) and not any((t % NS_PER_US).any() for t in times)

    def _add_strictly(self, array: Buffer) -> bool:
        """Whether float64 held the times of the kept events exactly; if not, nothing was added."""
        events = self._decode(array)
        labels = [event.cat for event in events]
        kinds = bytes(map(self._kinds.__getitem__, labels))
        kept: list[Any] = list(compress(events, kinds.translate(_KEPT)))
        if list(map(type, kept)).count(Complete) < len(kept):  # marks under a category of ours
            kinds = bytes(self._kinds[e.cat] if type(e) is Complete else _SKIPPED for e in events)
            kept = list(compress(events, kinds.translate(_KEPT)))
        us = _times(kept)
        # NaN fails these comparisons too.
        if kept and not (np.abs(us).max() < EXACT_US and us[1].min() >= 0):
            self._loosely = bool((np.abs(us[0]) >= EXACT_US).any())
            return False
        start_ns, dur_ns = np.rint(us * NS_PER_US).astype(np.int64)
        self._append(kept, _without_skipped(kinds), start_ns, dur_ns)
        self._count_skipped(list(compress(labels, kinds.translate(_NOT_KEPT))), events, kinds)
        return True

    def _add_loosely(self, array: Buffer) -> None:
        events = decode_loosely(array)
        kinds = bytes(self._kinds[event.label] if event.complete else _SKIPPED for event in events)
        sources = list(compress(events, kinds.translate(_KEPT)))
        kept = [event.strict() for event in sources]
        start_ns = np.zeros(len(kept), np.int64)
        dur_ns = np.zeros(len(kept), np.int64)
        for row, (event, source) in enumerate(zip(kept, sources, strict=True)):
            start, dur = ns_from_us_text(source.ts), ns_from_us_text(source.dur)
            if start is None:
                self._note_bad(event, "ts", source.ts)
            elif dur is None or dur < 0:
                self._note_bad(event, "dur", source.dur)
            else:
                start_ns[row], dur_ns[row] = start, dur
        self._append(kept, _without_skipped(kinds), start_ns, dur_ns)
        self._count_skipped([""], events, kinds)

    def _count_skipped(
        self, labels: list[str], events: Sequence[Event | LooseEvent], kinds: bytes
    ) -> None:
        """Count by label; where some have no category, by the labels of the events themselves."""
        distinct = set(labels)
        if "" in distinct:
            labels = [event.label for event in compress(events, kinds.translate(_NOT_KEPT))]
            distinct = set(labels)
        for label in distinct:
            self.skipped[label] += labels.count(label)

    def _note_bad(self, event: Complete[str], field: str, raw: msgspec.Raw) -> None:
        self.bad_count += 1
        if not self.first_bad:
            text = bytes(raw).decode()
            state = f"has no {field}" if text == "null" else f"has {field} = {text}"
            self.first_bad = f"{event.cat} event {event.name!r} {state}"

    def _append(
        self, kept: list[Complete[str]], kinds: bytes, start_ns: IntArray, dur_ns: IntArray
    ) -> None:
        """Raises struct.error, with nothing done, where an integer has more than 64 bits."""
        on_device = list(compress(kept, kinds.translate(_ON_DEVICE)))
        on_host = list(compress(kept, kinds.translate(_ON_HOST)))
        syncs = list(compress(kept, kinds.translate(_SYNC))) if Kind.SYNC in kinds else []
        devices = [event.args.device for event in on_device]
        streams = [event.args.stream for event in on_device]
        packed = {
            "name": _pack(list(map(self._names.__getitem__, [event.name for event in kept]))),
            "start_ns": start_ns.tobytes(),
            "dur_ns": dur_ns.tobytes(),
            "thread": self._packed_threads(on_host),
            "device": _pack(self._or_track(on_device, devices, "pid")),
            "stream": _pack(self._or_track(on_device, streams, "tid")),
            "correlation": _pack([event.args.correlation for event in kept]),
            "size_bytes": _pack([event.args.bytes for event in on_device]),
            "graph": _pack([event.args.graph for event in on_device]),
            "graph_node": _pack([event.args.graph_node for event in on_device]),
            "wait_stream": _pack([event.args.wait_stream for event in syncs]),
            "wait_correlation": _pack([event.args.wait_correlation for event in syncs]),
        }
        for name, data in packed.items():
            self._packed[name] += data
        self._kind += kinds

    def _packed_threads(self, events: list[Complete[str]]) -> bytes:
        pids, tids = [event.pid for event in events], [event.tid for event in events]
        if pids and pids.count(pids[0]) == tids.count(tids[0]) == len(events):
            return _pack([self._threads[pids[0], tids[0]]]) * len(events)
        return _pack(list(map(self._threads.__getitem__, zip(pids, tids, strict=True))))

    def _or_track(self, events: list[Complete[str]], found: list[int], track: str) -> list[int]:
        """Of a GPU op without the argument its track's: Kineto's pid = device, tid = stream."""
        if _UNKNOWN.isdisjoint(found):
            return found
        return [
            whole(getattr(event, track)) if value in _UNKNOWN and self._is_op(event) else value
            for event, value in zip(events, found, strict=True)
        ]

    def _is_op(self, event: Complete[str]) -> bool:
        return self._kinds[event.cat] in GPU_OP_KINDS


def _without_skipped(kinds: bytes) -> bytes:
    return kinds.translate(None, bytes([_SKIPPED]))


def _pack(values: Sequence[int]) -> bytes:
    return struct.pack(f"{len(values)}q", *values)


def _times(events: list[Complete[str]]) -> npt.NDArray[np.float64]:
    """Two rows: begins and durations in µs."""
    begins, durations = [event.ts for event in events], [event.dur for event in events]
    flat = struct.pack(f"{2 * len(events)}d", *begins, *durations)
    return np.frombuffer(flat, np.float64).reshape(2, len(events))


def _column(name: str, packed: bytearray, kind: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    values = np.frombuffer(packed, np.int64)
    if name in _ARGUMENTS:
        values[values == INVALID[0]] = NONE
    if name not in _ROWS:
        return values.astype(DTYPES[name], copy=False)
    column = np.full(len(kind), NONE, DTYPES[name])
    column[np.frombuffer(_ROWS[name], np.bool_)[kind]] = values
    return column
