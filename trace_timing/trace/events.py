"""The table of a trace's events, as a struct of arrays with exact integer ns."""

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
    """Kind of an event, by its Kineto category. Values are stored in files: never renumber."""

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
    """n events in file order; compared by identity, so that results can be cached for it.

    All arrays have n entries; NONE (−1) where an event has no such field.
    """

    kind: npt.NDArray[np.uint8]
    #: Index into Trace.names.
    name: npt.NDArray[np.int32]
    #: On the trace's own time scale, whose origin is Trace.info.base_time_ns.
    start_ns: IntArray
    dur_ns: IntArray
    #: Index into Trace.threads; NONE for device events.
    thread: npt.NDArray[np.int32]
    device: npt.NDArray[np.int32]
    stream: IntArray
    #: Joins a GPU op to the API call that launched it.
    correlation: IntArray
    #: Bytes that a memcpy or memset moves.
    size_bytes: IntArray
    #: Ids of the CUDA graph and its node, where the trace has them. A node's id may be unique only
    #: in its graph.
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


#: Element type of each column of Events.
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
    """Whether each correlation id is valid: CUPTI counts from 1, roctracer's 0 means none."""
    joins: BoolArray = (ids != NONE) & (ids != 0)
    return joins


def absent(name: str, count: int) -> npt.NDArray[Any]:
    """A column of NONE for a field that no event has; one value in memory, `count` entries."""
    return np.broadcast_to(np.array(NONE, DTYPES[name]), count)


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """A device by the trace's header."""

    index: int
    name: str
    total_memory_bytes: int | None = None
    sm_count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Content of a file that could not be read as it stands, but no figure needs."""

    #: Number of events left out, by category, because their text or times cannot be used; nothing
    #: is timed by them. And a description of the first.
    left_out: Mapping[str, int] = field(default_factory=dict)
    first_left_out: str = ""
    #: Name of each range left out → what is wrong. A stage map that knows the name refuses the
    #: trace.
    ranges: Mapping[str, str] = field(default_factory=dict)
    #: Strings that were no valid JSON and were repaired: how many, and the first.
    repaired: int = 0
    first_repaired: str = ""


@dataclass(frozen=True, kw_only=True)
class TraceInfo:
    """The header of a trace, and notes from reading it."""

    #: Unix time of the scale's origin; None where timestamps are already since 1970.
    base_time_ns: int | None = None
    devices: tuple[DeviceInfo, ...] = ()
    rank: int | None = None
    world_size: int | None = None
    #: cuda_driver, cuda_runtime, cupti, hip …
    versions: Mapping[str, Any] = field(default_factory=dict)
    #: Whether timestamps are whole µs (old traces), so that sub-µs ops are 0 or 1 µs long.
    rounded_to_us: bool = False
    #: Events counted but not read: those with a duration by category (python_function …), marks and
    #: flows by phase ("ph s").
    skipped: Mapping[str, int] = field(default_factory=dict)
    #: Warnings and errors that the profiler's log wrote into the header, shortened.
    notes: tuple[str, ...] = ()
    #: Whether CPU ops were read, if there are any.
    has_cpu_ops: bool = False
    #: Pids of the host processes, in order of rank, if there are several; in a trace split off from
    #: such a one, its own pid; else empty.
    processes: tuple[str, ...] = ()
    #: In a trace split off from a merged one: pids of processes that have launches, but no range
    #: and no op, and so no trace of their own.
    launching_only: tuple[str, ...] = ()
    damage: Damage = Damage()


@dataclass(frozen=True, eq=False)
class Trace:
    """One trace: its events, the names and threads they index, and its header."""

    events: Events
    names: tuple[str, ...]
    #: (pid, tid) of the host threads, as text, since old traces have words there.
    threads: tuple[tuple[str, str], ...]
    info: TraceInfo
    #: Its path or URL, for messages; never stored in outputs as an absolute path.
    source: str
