"""Data model of one run's timeline: its stages, ops and tiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from trace_timing.arrays import BoolArray, IntArray, marks_until
from trace_timing.memoize import cached_per_object
from trace_timing.records.runs import Clock
from trace_timing.schema.stages import BatchSize
from trace_timing.stages import STEP_STAGES, Stage, range_name
from trace_timing.trace.marks import NO_SPANS, Spans

Keys = npt.NDArray[np.int32]


# Structs, where a trace has hundreds: these are made, compared and hashed in C.
class StageKey(msgspec.Struct, frozen=True, order=True):
    """A stage, and its number where it has one: decode[3] is ("decode", 3)."""

    stage: Stage
    step: int | None = None

    @property
    def label(self) -> str:
        """`decode[3]`, `prefill`; `draft (not recorded)` where recording was off."""
        if self.step == NOT_COUNTED:
            return f"{self.stage} (not recorded)"
        return range_name(self.stage, self.step)


#: In a stage without numbers, the step of ranges that begin where recording was off or in the guard
#: step after that.
NOT_COUNTED = -1
#: Why figures of a key are not known. `recording_off`: it was not recorded. `recording_guard`: it
#: was recorded, but ops launched while recording was off still run in it. `recording_switch`: an op
#: or launch of it was lost next to where recording was switched off or on.
Unrecorded = Literal["recording_off", "recording_guard", "recording_switch"]


class State(IntEnum):
    """What the device does in an instant of a run's window."""

    BUSY = 0  # an op runs
    QUEUED = 1  # none runs, some op is launched
    EMPTY = 2  # none runs, nothing is launched
    UNKNOWN = 3  # recording was off; only in drawn timelines, never in cells


@dataclass(frozen=True, eq=False)
class Tiles:
    """n adjoining intervals, in time order, that cover a window exactly."""

    start_ns: IntArray
    end_ns: IntArray
    #: Index into the run's keys.
    key: Keys
    #: State values.
    state: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.start_ns)


@dataclass(frozen=True)
class Cells:
    """n adjoining intervals that cover a window exactly, cut wherever anything changes.

    What the device does, for whom, and how far the host is ahead is the same all through a cell.
    """

    #: n + 1 instants: cell i lies from edge_ns[i] to edge_ns[i + 1].
    edge_ns: IntArray
    #: Index into the run's keys.
    key: Keys
    #: State values.
    state: npt.NDArray[np.uint8]
    #: Number of the op that a busy cell belongs to, the one launched first; −1 where it is idle.
    op: IntArray
    #: Ops launched and not started. Below 0 where clock skew lets ops start before their launch;
    #: not clamped, so that it shows.
    depth: IntArray

    def __len__(self) -> int:
        return len(self.key)

    @cached_property
    def length_ns(self) -> IntArray:
        """How long each cell is; n entries."""
        return np.diff(self.edge_ns)

    @cached_property
    def tiles(self) -> Tiles:
        """Neighbours of one key and state joined."""
        if not len(self):
            return Tiles(self.edge_ns[:0], self.edge_ns[:0], self.key, self.state)
        change = (self.key[1:] != self.key[:-1]) | (self.state[1:] != self.state[:-1])
        begins = np.flatnonzero(np.concatenate([[True], change]))
        edges = self.edge_ns[np.append(begins, len(self))]
        return Tiles(edges[:-1], edges[1:], self.key[begins], self.state[begins])


@dataclass(frozen=True)
class HostTimeline:
    """The innermost stage of one host thread over time: a step function.

    From boundary_ns[i] until boundary_ns[i + 1] (the last: for ever) the thread is in key[i];
    before the first boundary, and where key is NONE (−1), it is in no stage range.
    """

    boundary_ns: IntArray
    key: Keys

    def at(self, times_ns: IntArray) -> Keys:
        """Key at each instant, NONE where in none; n entries in, n out."""
        if not len(self.boundary_ns):
            return np.full(len(times_ns), -1, np.int32)
        row = np.searchsorted(self.boundary_ns, times_ns, side="right") - 1
        return np.where(row >= 0, self.key[np.maximum(row, 0)], np.int32(-1)).astype(np.int32)

    def at_each(self, ascending_ns: IntArray) -> Keys:
        """As `at`, of instants in order: the few boundaries are looked up among the many."""
        return np.append(np.int32(-1), self.key)[marks_until(self.boundary_ns, ascending_ns)]


class StageRange(msgspec.Struct, frozen=True, kw_only=True):
    """One range of the trace that stands for a stage (or for generate: key None)."""

    key: int | None
    thread: int
    start_ns: int
    end_ns: int
    batch: BatchSize | None = None


@dataclass(frozen=True, kw_only=True)
class RunOps:
    """The m GPU ops of a run, ordered by start (ties: file order)."""

    #: Row of the trace's events.
    row: IntArray
    start_ns: IntArray
    end_ns: IntArray
    #: Begin of the launching call; the op's own start where the launch is missing.
    launch_ns: IntArray
    #: Row of the launching call in the trace's events, NONE where missing.
    launch_row: IntArray
    #: Index into the run's keys.
    key: Keys
    device: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: BoolArray) -> RunOps:
        """The chosen ops, in order."""
        return RunOps(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


@dataclass(frozen=True, kw_only=True, eq=False)
class RunTimeline:
    """One run: its window, its ops with their stages, and the tiling of its window.

    Compared by identity, so that `memoize.cached_per_object` can cache results for it.
    """

    #: 0 … k−1 for the k generate ranges of a trace.
    ordinal: int
    window_start_ns: int
    window_end_ns: int
    #: The outermost generate range; None where the trace has none.
    generate_start_ns: int | None
    generate_end_ns: int | None
    generating_thread: int
    keys: tuple[StageKey, ...]
    #: Stage ranges in the run, all threads, by begin.
    ranges: tuple[StageRange, ...]
    #: The generating thread's stages over time.
    host: HostTimeline
    ops: RunOps
    #: Tiling of the union of all devices.
    cells: Cells
    #: Device → its tiling alone.
    device_cells: Mapping[int, Cells]
    clock: Clock
    #: Why the figures of a key are not known, by index into keys; empty where all was recorded.
    unrecorded: Mapping[int, Unrecorded] = field(default_factory=dict)
    #: The host's gaps in the recording, the guard steps after them included.
    gaps: Spans = NO_SPANS

    @property
    def tiles(self) -> Tiles:
        """The tiling, neighbours of one key and state joined."""
        return self.cells.tiles


def outside_key(run: RunTimeline) -> int:
    """The key of instants in no stage range (`outside_of`)."""
    return outside_of(run.keys, known=bool(run.ranges) or run.generate_start_ns is not None)


def outside_of(keys: Sequence[StageKey], *, known: bool) -> int:
    """The key of what lies in no stage range: `other`; `unattributed` where nothing is known.

    Args:
        keys: of a run or trace; the last two are `other` and `unattributed`.
        known: whether the run has a generate range or the trace any stage range.
    """
    wanted = "other" if known else "unattributed"
    return next(i for i, k in enumerate(keys) if k.stage == wanted and k.step is None)


@cached_per_object
def forward_keys(run: RunTimeline) -> tuple[int, ...]:
    """Keys of the run's numbered forwards, by begin: the rows of the table `steps`.

    In a generate() call these are the decode steps, in a server's trace all forwards.
    """
    keys = dict.fromkeys(r.key for r in run.ranges if r.key is not None)  # ranges are by begin
    numbered = {k for k in keys if run.keys[k].step is not None}
    return tuple(k for k in keys if k in numbered and run.keys[k].stage in STEP_STAGES)
