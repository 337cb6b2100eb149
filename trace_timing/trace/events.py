"""The one table of events that every later step reads: struct of arrays, exact integer ns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_timing.arrays import BoolArray, IntArray

NONE = -1


class Kind(IntEnum):
    """What an event is, from its Kineto category. Values are stored in files: never renumber."""

    RANGE = 0  # user_annotation: a named host interval
    CALL = 1  # cuda_runtime, cuda_driver, hip_runtime …: a runtime or driver API call
    KERNEL = 2
    MEMCPY = 3  # gpu_memcpy
    MEMSET = 4  # gpu_memset
    CPU_OP = 5  # cpu_op; read on request only
    OVERHEAD = 6  # the profiler's own: "Activity Buffer Request" …
    SYNC = 7  # cuda_sync: what a stream or event waited for, where recorded


GPU_OP_KINDS = (Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET)


@dataclass(frozen=True, eq=False)
class Events:
    """n events in file order. Compared by identity, so that what follows from it is kept with it.

    All arrays have n entries; NONE (−1) where an event has no such field.
    """

    kind: npt.NDArray[np.uint8]
    #: Index into Trace.names.
    name: npt.NDArray[np.int32]
    #: In the trace's own scale (Trace.info.base_time_ns is its origin).
    start_ns: IntArray
    dur_ns: IntArray
    #: Index into Trace.threads; NONE for device events.
    thread: npt.NDArray[np.int32]
    device: npt.NDArray[np.int32]
    stream: IntArray
    #: Joins a GPU op to the API call that launched it.
    correlation: IntArray
    #: What a memcpy or memset moves.
    size_bytes: IntArray
    #: CUDA graph, and node of it, where the trace has such ids. A node's id may be unique in its
    #: graph alone.
    graph: IntArray
    graph_node: IntArray
    #: SYNC events: the stream waited on, and the correlation id of the event record waited for.
    wait_stream: IntArray
    wait_correlation: IntArray
    #: Index into TraceInfo.processes where the trace holds several host processes; else NONE.
    process: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.kind)

    @cached_property
    def end_ns(self) -> IntArray:
        """Start plus duration, n entries."""
        return self.start_ns + self.dur_ns

    def take(self, rows: BoolArray | IntArray) -> Events:
        """The chosen rows, in the given order."""
        return Events(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def rows(self, *kinds: Kind) -> IntArray:
        """Row numbers of these kinds, in file order."""
        if kinds not in self._rows:
            wanted = np.zeros(256, np.bool_)
            wanted[list(kinds)] = True
            self._rows[kinds] = np.flatnonzero(wanted[self.kind])
        return self._rows[kinds]

    @cached_property
    def _rows(self) -> dict[tuple[Kind, ...], IntArray]:
        return {}


#: What each column of Events is an array of.
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
    "graph": np.int64,
    "graph_node": np.int64,
    "wait_stream": np.int64,
    "wait_correlation": np.int64,
    "process": np.int32,
}


def joins(ids: IntArray) -> BoolArray:
    """Which correlation ids join: CUPTI counts from 1, roctracer gives 0 to what it cannot join."""
    joins: BoolArray = (ids != NONE) & (ids != 0)
    return joins


def absent(name: str, count: int) -> npt.NDArray[Any]:
    """A column of a field that none of the events has: one NONE in memory, seen `count` times."""
    return np.broadcast_to(np.array(NONE, DTYPES[name]), count)


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """A device as the trace's header names it."""

    index: int
    name: str
    total_memory_bytes: int | None = None
    sm_count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What of a file could not be read as it stands, and was not needed for any figure."""

    #: Events left out, by category: their text or their times cannot be used, nothing is timed by
    #: them. And the first of them, in words.
    left_out: Mapping[str, int] = field(default_factory=dict)
    first_left_out: str = ""
    #: Ranges left out by name, with what is wrong: a stage map that claims one refuses the trace.
    ranges: Mapping[str, str] = field(default_factory=dict)
    #: Strings that were no valid JSON and were put right: how many, and the first.
    repaired: int = 0
    first_repaired: str = ""


@dataclass(frozen=True, kw_only=True)
class TraceInfo:
    """The header of a trace, and what reading it noticed."""

    #: Unix time of the scale's origin; None where timestamps are already since 1970.
    base_time_ns: int | None = None
    devices: tuple[DeviceInfo, ...] = ()
    rank: int | None = None
    world_size: int | None = None
    #: cuda_driver, cuda_runtime, cupti, hip …
    versions: Mapping[str, Any] = field(default_factory=dict)
    #: Timestamps are whole µs (old traces): sub-µs ops read as 0 or 1 µs.
    rounded_to_us: bool = False
    #: Events counted but not read: those with a duration by category (python_function …), marks and
    #: flows by phase ("ph s").
    skipped: Mapping[str, int] = field(default_factory=dict)
    #: Warnings and errors that the profiler's log wrote into the header, shortened.
    notes: tuple[str, ...] = ()
    #: Whether CPU ops were asked for; without, their absence says nothing.
    has_cpu_ops: bool = False
    #: Pids of the host processes where there are several, in order of rank; of a trace taken out of
    #: such a one, its own; empty for any other.
    processes: tuple[str, ...] = ()
    damage: Damage = Damage()


@dataclass(frozen=True, eq=False)
class Trace:
    """One trace: its events, the strings they point into, and its header."""

    events: Events
    names: tuple[str, ...]
    #: (pid, tid) of the host threads, as text: old traces have words there.
    threads: tuple[tuple[str, str], ...]
    info: TraceInfo
    #: Where it came from, for messages; never stored in outputs as an absolute path.
    source: str
