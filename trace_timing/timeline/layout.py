"""What attribution and tiling make of one run: the values that every later step reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from trace_timing.records import Clock, Stage
from trace_timing.units import BoolArray, IntArray

Keys = npt.NDArray[np.int32]


@dataclass(frozen=True, order=True)
class StageKey:
    """A stage, and its number where it has one: decode[3] is ("decode", 3)."""

    stage: Stage
    step: int | None = None


class State(IntEnum):
    """What the device does in an instant of a run's window."""

    BUSY = 0  # an op runs
    QUEUED = 1  # none runs, some op is launched
    EMPTY = 2  # none runs, nothing is launched


@dataclass(frozen=True)
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


@dataclass(frozen=True, kw_only=True)
class StageRange:
    """One range of the trace that stands for a stage (or for generate: key None)."""

    key: int | None
    thread: int
    start_ns: int
    end_ns: int


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


@dataclass(frozen=True, kw_only=True)
class RunTimeline:
    """One run: its window, its ops with their stages, and the tiling of its window."""

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
    #: Tiling of the union of devices; of each device alone.
    tiles: Tiles
    device_tiles: Mapping[int, Tiles]
    clock: Clock
