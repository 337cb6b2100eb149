"""Attribution: each GPU op to the stage that launched it (docs/architecture.md).

By launch time, not run time: the host runs ahead of the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_timing.arrays import BoolArray, IntArray, distinct_codes
from trace_timing.timeline.build.model import HostTimeline, Keys
from trace_timing.timeline.build.ranges import FoundRanges, busiest_thread, host_timelines
from trace_timing.trace.events import NONE

#: Why an op is in no stage; stored in tables, so never rename.
REASONS = ("no_stage_ranges", "launch_missing", "outside_generate", "recording_switch")
NO_STAGE_RANGES, LAUNCH_MISSING, OUTSIDE_GENERATE, RECORDING_SWITCH = range(len(REASONS))


@dataclass(frozen=True)
class Placement:
    """The run and stage of n host instants (launches, calls).

    `run` is NONE outside every run; `key` is NONE inside a run but in no stage range.
    """

    run: IntArray
    key: Keys
    #: Whether `key` is the generating thread's, since the own thread has no ranges.
    borrowed: BoolArray


@dataclass(frozen=True)
class HostMap:
    """Which run and which stage each host thread is in, over time.

    Without a generate range there is one run, and every instant is in it.
    """

    timelines: Mapping[int, HostTimeline]
    #: Outermost generate ranges by begin: thread, begin, end; empty for a trace without.
    run_thread: IntArray
    run_start_ns: IntArray
    run_end_ns: IntArray
    main_thread: int

    def place(self, thread: npt.NDArray[np.int32], time_ns: IntArray) -> Placement:
        """The run and stage of n instants on their threads."""
        run = self.runs_at(thread, time_ns)
        key = np.full(len(time_ns), NONE, np.int32)
        owner = self._generating_threads(run)
        own = np.zeros(len(thread), np.bool_)
        for number in self.timelines:
            own |= thread == number
        effective = np.where(own, thread, owner)
        for number, timeline in self.timelines.items():
            mine = effective == number
            key[mine] = timeline.at(time_ns[mine])
        return Placement(run, key, ~own & (thread != owner) & (run != NONE))

    def _generating_threads(self, run: IntArray) -> IntArray:
        if not len(self.run_thread):
            return np.full(len(run), self.main_thread, np.int64)
        return np.where(run != NONE, self.run_thread[np.maximum(run, 0)], self.main_thread)

    def runs_at(self, thread: npt.NDArray[np.int32], time_ns: IntArray) -> IntArray:
        """The run of n instants on their threads, NONE outside every run."""
        if not len(self.run_thread):
            return np.zeros(len(time_ns), np.int64)
        run = np.full(len(time_ns), NONE, np.int64)
        # The thread's own generate() first; else one of another thread.
        for number in distinct_codes(self.run_thread):
            inside = self._inside(np.flatnonzero(self.run_thread == number), time_ns)
            own = thread == number
            run = np.where(own & (inside != NONE), inside, run)
        for number in distinct_codes(self.run_thread):
            inside = self._inside(np.flatnonzero(self.run_thread == number), time_ns)
            run = np.where((run == NONE) & (inside != NONE), inside, run)
        return run

    def _inside(self, runs: IntArray, time_ns: IntArray) -> IntArray:
        row = np.searchsorted(self.run_start_ns[runs], time_ns, side="right") - 1
        candidate = runs[np.maximum(row, 0)]
        inside = (row >= 0) & (time_ns < self.run_end_ns[candidate])
        return np.where(inside, candidate, NONE)


def host_map(found: FoundRanges) -> HostMap:
    """The host's stages over time, all threads."""
    generate = found.generate
    return HostMap(
        timelines=host_timelines(found.stages),
        run_thread=np.array([g.thread for g in generate], np.int64),
        run_start_ns=np.array([g.start_ns for g in generate], np.int64),
        run_end_ns=np.array([g.end_ns for g in generate], np.int64),
        main_thread=generate[0].thread if generate else busiest_thread(found.stages),
    )


@dataclass(frozen=True)
class Attribution:
    """The run and stage of n GPU ops, ordered by start."""

    row: IntArray
    launch_row: IntArray
    launch_ns: IntArray
    run: IntArray
    key: Keys
    #: Index into REASONS; NONE for an op that is in a run.
    reason: IntArray
    borrowed: BoolArray
