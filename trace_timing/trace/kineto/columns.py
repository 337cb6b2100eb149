"""Collect decoded events, piece by piece, into columns of exact integers."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_timing.arrays import BoolArray, IntArray
from trace_timing.trace.events import DTYPES, GPU_OP_KINDS, NONE, Events, Kind, absent
from trace_timing.trace.kineto.categories import SKIPPED, kind_of
from trace_timing.trace.kineto.decoding import (
    EXACT_US,
    INVALID,
    Args,
    Complete,
    StrictDecoder,
    decode_loosely,
    ns_from_us,
    whole,
)
from trace_timing.trace.kineto.faults import Faults, usable_times
from trace_timing.trace.kineto.text import UNREADABLE, Buffer
from trace_timing.trace.processes import DeviceTracks, tells_process


def _table(*kinds: int) -> bytes:
    """A table of 256 bytes, 1 for each of these kinds, for bytes.translate or as an array."""
    return bytes(kind in kinds for kind in range(256))


_SKIPPED_KIND = bytes([SKIPPED])
#: Kind of events left out because of their times, which are counted separately.
_LEFT_OUT = 254
_UNUSED_KINDS = bytes([SKIPPED, _LEFT_OUT])
_KEPT = _table(*Kind)
_ON_DEVICE = _table(*GPU_OP_KINDS, Kind.SYNC)
_HOST_KINDS = bytes(k for k in Kind if not _ON_DEVICE[k])
_ON_HOST = _table(*_HOST_KINDS)
_SYNC, _IS_OP = _table(Kind.SYNC), _table(*GPU_OP_KINDS)
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
    "track": _ON_DEVICE,
}
#: Columns of Events that are read value by value.
_READ = tuple(name for name in DTYPES if name not in ("kind", "process"))
#: Columns from arguments, which may have CUPTI's values for "none".
_ARGUMENTS = ("size_bytes", *(name for name in DTYPES if name in Args.__struct_fields__))
_UNKNOWN = frozenset((NONE, INVALID[0]))
#: Largest value of the column's type, less one, so that the number after it fits too.
_LARGEST_DEVICE = 2**31 - 2


#: Values of a column: 64-bit integers as bytes, or a number of NONE.
Chunk = bytes | int


class Codes(dict[Any, int]):
    """Numbers keys in order of first use: `codes[key]` looks up or adds."""

    def __missing__(self, key: Any) -> int:
        self[key] = code = len(self)
        return code


@lru_cache(maxsize=8)
def _kind_of_code(labels: tuple[str, ...], cpu_ops: bool) -> bytes:
    """Table for bytes.translate from a label's code to its kind."""
    return bytes(kind_of(label, cpu_ops=cpu_ops) for label in labels).ljust(256)


class Columns:
    """Grows piece by piece; `events()` makes the arrays.

    A list comprehension and struct.pack take 20 ns a value, numpy's conversion of objects 33, and a
    trace has millions of values.

    Args:
        cpu_ops: read CPU ops too.
    """

    def __init__(self, cpu_ops: bool) -> None:
        self._cpu_ops = cpu_ops
        self._names = Codes()
        self._threads = Codes()
        self._tracks = Codes()
        self._kind: list[bytes] = []
        #: Values of the columns in _ROWS, only for the kinds that have them.
        self._chunks: dict[str, list[Chunk]] = {name: [] for name in (*_READ, "track")}
        self._decode = StrictDecoder()
        #: Label codes of all events that were decoded strictly.
        self._codes = bytearray()
        self._loosely = False
        self._loose_skipped: Counter[str] = Counter()
        #: Content that cannot be read as it stands.
        self.faults = Faults()

    def add(self, array: Buffer) -> None:
        """Add the events of a JSON array that analysis uses, and count the others.

        Raises:
            One of UNREADABLE: it is not one whole JSON array of objects; nothing was added.
        """
        if not self._loosely:
            try:
                if self._add_strictly(array):
                    return
            except (*UNREADABLE, struct.error):
                pass  # another type, NaN, or not JSON: the loose reader finds out
        self._add_loosely(array)

    def events(self) -> Events:
        """All events, in file order; call it once, after the last `add`."""
        kind = np.frombuffer(b"".join(self._kind), np.uint8)
        rows = {table: np.frombuffer(table, np.bool_)[kind] for table in set(_ROWS.values())}
        columns = {}
        for name, chunks in self._chunks.items():
            values = _joined(chunks)
            chunks.clear()
            if name == "device" and values is not None:
                self._refuse_odd_devices(values, kind)
            own = rows[_ROWS[name]] if name in _ROWS else None
            columns[name] = _column(name, values, own, len(kind))
        self._track_of_event = columns.pop("track")
        same_thread, codes = self._alike_threads()
        if len(same_thread) < len(self._threads):
            columns["thread"] = codes[columns["thread"]]
        return Events(kind=kind, **columns, process=absent("process", len(kind)))

    def _refuse_odd_devices(self, devices: IntArray, kind: npt.NDArray[np.uint8]) -> None:
        """Note ops whose device number is invalid."""
        devices[devices == INVALID[0]] = NONE
        odd = np.flatnonzero((devices < NONE) | (devices > _LARGEST_DEVICE))
        if not len(odd):
            return
        kinds = kind[np.frombuffer(_ON_DEVICE, np.bool_)[kind]][odd]
        for device, code in zip(devices[odd].tolist(), kinds.tolist(), strict=True):
            if code in GPU_OP_KINDS:
                self.faults.note_needed(f"{Kind(code).name.lower()} event has device = {device}")
        devices[odd] = NONE

    def _alike_threads(self) -> tuple[tuple[tuple[str, str], ...], npt.NDArray[np.int32]]:
        """The threads, with those written as "7" and 7 joined, and the new code of each."""
        alike = Codes()
        new = [alike[str(pid), str(tid)] for pid, tid in self._threads]
        return tuple(alike), np.array([*new, NONE], np.int32)

    @property
    def skipped(self) -> Counter[str]:
        """Number of events not read, by label: category if they have a duration, else phase."""
        counts = np.bincount(np.frombuffer(self._codes, np.uint8)).tolist()
        labels = zip(self._decode.labels, counts, strict=False)
        strictly = Counter({label: n for label, n in labels if self._skips(label)})
        return strictly + self._loose_skipped

    @property
    def names(self) -> tuple[str, ...]:
        """The strings that Events.name indexes."""
        return tuple(self._names)

    @property
    def threads(self) -> tuple[tuple[str, str], ...]:
        """The threads that Events.thread indexes."""
        return self._alike_threads()[0]

    @property
    def tracks(self) -> DeviceTracks:
        """The processes that device events give; valid after `events()`."""
        return DeviceTracks(self._track_of_event, tuple(map(str, self._tracks)))

    def _add_strictly(self, array: Buffer) -> bool:
        """Add events by the strict decoder; False, with nothing added, if float64 is not exact."""
        events, codes = self._decode(array)
        kinds = codes.translate(_kind_of_code(self._decode.labels, self._cpu_ops))
        kept: list[Any] = list(compress(events, kinds.translate(_KEPT)))
        us = _times(kept)
        if not _is_exact(us):
            self._loosely = bool((np.abs(us[: len(kept)]) >= EXACT_US).any())
            return False
        self._append(kept, kinds.translate(None, _SKIPPED_KIND), ns_from_us(us))
        self._codes += codes
        return True

    def _add_loosely(self, array: Buffer) -> None:
        """Add events by the loose decoder, noting those that cannot be used."""
        events, repairs = decode_loosely(array)
        labels = [event.label for event in events]
        kinds = bytearray(kind_of(label, cpu_ops=self._cpu_ops) for label in labels)
        times: list[tuple[int, int]] = []
        for row, event in enumerate(events):
            if kinds[row] == SKIPPED:
                continue
            found = usable_times(event)
            if isinstance(found, str):
                self.faults.note_times(event, Kind(kinds[row]), found)
                kinds[row] = _LEFT_OUT
            else:
                times.append(found)
        kept = [event.strict() for event in compress(events, kinds.translate(_KEPT))]
        ns = np.array(times, np.int64).reshape(-1, 2).T
        self._append(kept, bytes(kinds.translate(None, _UNUSED_KINDS)), ns.ravel())
        self._loose_skipped.update(compress(labels, kinds.translate(_table(SKIPPED))))
        self.faults.repairs.add(repairs)

    def _skips(self, label: str) -> bool:
        return kind_of(label, cpu_ops=self._cpu_ops) == SKIPPED

    def _append(self, kept: list[Complete], kinds: bytes, ns: IntArray) -> None:
        """Add events, their kinds, and their starts followed by their durations.

        Raises struct.error, with nothing done, where an integer has more than 64 bits.
        """
        on_device = list(compress(kept, kinds.translate(_ON_DEVICE)))
        on_host = list(compress(kept, kinds.translate(_ON_HOST)))
        arguments = [event.args for event in on_device]
        syncs = list(compress(kept, kinds.translate(_SYNC))) if Kind.SYNC in kinds else []
        is_op = kinds.translate(_IS_OP, _HOST_KINDS)
        devices, streams = [args.device for args in arguments], [args.stream for args in arguments]
        on_devices = _or_track(on_device, is_op, devices, _device_of_track)
        pids = [event.pid for event in on_device]
        times = ns.tobytes()
        chunks: dict[str, Chunk] = {
            "name": _pack(list(map(self._names.__getitem__, [event.name for event in kept]))),
            "start_ns": times[: len(times) // 2],
            "dur_ns": times[len(times) // 2 :],
            "thread": self._packed_threads(on_host),
            "device": _pack(on_devices),
            "stream": _pack(_or_track(on_device, is_op, streams, _stream_of_track)),
            "track": len(pids) if pids == devices else self._packed_tracks(pids, on_devices),
            "correlation": _pack([event.args.correlation for event in kept]),
            "size_bytes": _pack_unless_none([args.bytes for args in arguments]),
            "graph": _pack_unless_none([args.graph for args in arguments]),
            "graph_node": _pack_unless_none([args.graph_node for args in arguments]),
            "wait_stream": _pack_unless_none([event.args.wait_stream for event in syncs]),
            "wait_correlation": _pack_unless_none([event.args.wait_correlation for event in syncs]),
        }
        for name, chunk in chunks.items():
            self._chunks[name].append(chunk)
        self._kind.append(kinds)

    def _packed_tracks(self, pids: list[int | str], devices: list[int]) -> Chunk:
        pairs = zip(pids, devices, strict=True)
        return _pack_unless_none(
            [self._tracks[pid] if tells_process(pid, device) else NONE for pid, device in pairs]
        )

    def _packed_threads(self, events: list[Complete]) -> bytes:
        pids, tids = [event.pid for event in events], [event.tid for event in events]
        if pids and pids.count(pids[0]) == tids.count(tids[0]) == len(events):
            return _pack([self._threads[pids[0], tids[0]]]) * len(events)
        return _pack(list(map(self._threads.__getitem__, zip(pids, tids, strict=True))))


def _or_track(
    events: list[Complete], is_op: bytes, found: list[int], track: Callable[[Complete], int]
) -> list[int]:
    """Values of an argument; for GPU ops without it their track's (pid = device, tid = stream)."""
    if _UNKNOWN.isdisjoint(found):
        return found
    return [
        track(event) if op and value in _UNKNOWN else value
        for event, op, value in zip(events, is_op, found, strict=True)
    ]


def _device_of_track(event: Complete) -> int:
    """The pid, if it can be a device's number."""
    number = whole(event.pid)
    return number if NONE < number <= _LARGEST_DEVICE else NONE


def _stream_of_track(event: Complete) -> int:
    return whole(event.tid)


def _pack(values: Sequence[int]) -> bytes:
    return struct.pack(f"{len(values)}q", *values)


def _pack_unless_none(values: list[int]) -> Chunk:
    return len(values) if values.count(NONE) == len(values) else _pack(values)


def _times(events: list[Complete]) -> npt.NDArray[np.float64]:
    """Begins of all events, then their durations, in µs."""
    begins, durations = [event.ts for event in events], [event.dur for event in events]
    return np.frombuffer(struct.pack(f"{2 * len(events)}d", *begins, *durations))


def _is_exact(us: npt.NDArray[np.float64]) -> bool:
    """Whether float64 holds begins and durations to the ns, and no duration is negative."""
    # NaN fails these comparisons too.
    return not len(us) or bool(
        us.min() > -EXACT_US and us.max() < EXACT_US and us[len(us) // 2 :].min() >= 0
    )


def _joined(chunks: list[Chunk]) -> IntArray | None:
    """The values of a column; None where all are NONE."""
    if all(isinstance(chunk, int) for chunk in chunks):
        return None
    cells = (_pack([NONE]) * c if isinstance(c, int) else c for c in chunks)
    return np.frombuffer(bytearray().join(cells), np.int64)


def _column(
    name: str, values: IntArray | None, rows: BoolArray | None, count: int
) -> npt.NDArray[Any]:
    """A column of Events from the values of the selected rows, or of all."""
    dtype = DTYPES.get(name, np.int64)
    if values is None:
        return np.broadcast_to(np.array(NONE, dtype), count)
    if name in _ARGUMENTS:
        values[values == INVALID[0]] = NONE
    if rows is None:
        return values.astype(dtype, copy=False)
    column = np.full(count, NONE, dtype)
    column[rows] = values
    return column
