"""The figures of every key of a run, from its cells, ops, calls and ranges, as arrays over keys.

A stage's figures are sums over its keys; of first and last instants, the earliest and latest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from trace_timing.api_call_names import ALLOCATING, SYNCHRONIZING
from trace_timing.arrays import IntArray
from trace_timing.memoize import cached_per_object
from trace_timing.timeline.build.attribution import HostMap
from trace_timing.timeline.build.model import (
    Cells,
    HostTimeline,
    RunOps,
    RunTimeline,
    StageKey,
    State,
    outside_key,
)
from trace_timing.timeline.build.ranges import host_timelines
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import NONE, Kind, Trace


@dataclass(frozen=True, kw_only=True)
class DeviceFigures:
    """The device's figures of k keys, or of k groups of keys; all arrays have k entries."""

    window_ns: IntArray
    busy_ns: IntArray
    idle_ns: IntArray
    queued_ns: IntArray
    kernel_sum_ns: IntArray
    #: First op's start and last op's end; begin > end where a group has no op.
    first_start_ns: IntArray
    last_end_ns: IntArray
    gpu_ops: IntArray
    #: Distinct launches; one whose ops are of several keys counts for its first op's key.
    launches: IntArray

    def grouped(self, group: IntArray, groups: int) -> DeviceFigures:
        """The figures of groups of keys; group[i] is the group of key i."""
        first, last = _no_instants(groups)
        np.minimum.at(first, group, self.first_start_ns)
        np.maximum.at(last, group, self.last_end_ns)
        instants = {"first_start_ns": first, "last_end_ns": last}
        return DeviceFigures(**{**_summed(self, group, groups), **instants})


@dataclass(frozen=True, kw_only=True)
class HostFigures:
    """The host's figures of k keys, or of k groups of keys; all arrays have k entries."""

    syncs: IntArray
    sync_wait_ns: IntArray
    allocs: IntArray
    alloc_ns: IntArray
    host_ns: IntArray

    def grouped(self, group: IntArray, groups: int) -> HostFigures:
        """The figures of groups of keys; group[i] is the group of key i."""
        return HostFigures(**_summed(self, group, groups))


def _summed(
    figures: DeviceFigures | HostFigures, group: IntArray, groups: int
) -> dict[str, IntArray]:
    return {f.name: sums(group, getattr(figures, f.name), groups) for f in fields(figures)}


def _no_instants(count: int) -> tuple[IntArray, IntArray]:
    """First and last instants to begin a minimum and a maximum with."""
    limits = np.iinfo(np.int64)
    return np.full(count, limits.max), np.full(count, limits.min)


def sums(group: npt.NDArray[np.integer], values: IntArray, count: int) -> IntArray:
    """Exact integer sums of values by group; `count` entries."""
    total = np.zeros(count, np.int64)
    np.add.at(total, group, values)
    return total


@cached_per_object
def run_figures(run: RunTimeline) -> DeviceFigures:
    """The figures of a run's keys over the union of its devices."""
    return device_figures(run.cells, run.ops, len(run.keys))


def device_figures(cells: Cells, ops: RunOps, keys: int) -> DeviceFigures:
    """Sum cells and ops by key; `keys` entries each."""
    # Key and state as one number: a sum by both in one pass.
    by_both = sums(cells.key * len(State) + cells.state, cells.length_ns, keys * len(State))
    by_state = by_both.reshape(keys, len(State)).T
    first, last = _no_instants(keys)
    np.minimum.at(first, ops.key, ops.start_ns)
    np.maximum.at(last, ops.key, ops.end_ns)
    return DeviceFigures(
        window_ns=by_state.sum(axis=0),
        busy_ns=by_state[State.BUSY],
        idle_ns=by_state[State.QUEUED] + by_state[State.EMPTY],
        queued_ns=by_state[State.QUEUED],
        kernel_sum_ns=sums(ops.key, ops.end_ns - ops.start_ns, keys),
        first_start_ns=first,
        last_end_ns=last,
        gpu_ops=np.bincount(ops.key, minlength=keys).astype(np.int64),
        launches=_launches(ops, keys),
    )


def _launches(ops: RunOps, keys: int) -> IntArray:
    """Distinct launches of each key."""
    linked = ops.launch_row != NONE
    launch, key = ops.launch_row[linked], ops.key[linked]
    key_of_launch = np.full(int(launch.max(initial=NONE)) + 1, NONE, np.int32)
    key_of_launch[launch[::-1]] = key[::-1]  # of several the last write, the first op, stays
    used = key_of_launch[key_of_launch != NONE]
    return np.bincount(used, minlength=keys).astype(np.int64)


@cached_per_object
def host_figures(trace: Trace, hosts: HostMap, run: RunTimeline) -> HostFigures:
    """Sum API calls and exclusive range times by the run's keys.

    A call belongs to the stage open on its thread when it begins, as a launch does.
    """
    keys, other = len(run.keys), outside_key(run)
    events = trace.events
    calls = events.rows(Kind.CALL)
    begins = events.start_ns[calls]
    # Other calls have no column.
    counted = calls_that(trace, calls, SYNCHRONIZING | ALLOCATING)
    rows = calls[counted & (begins >= run.window_start_ns) & (begins < run.window_end_ns)]
    placed = hosts.place(events.thread[rows], events.start_ns[rows])
    if run.generate_start_ns is not None:
        mine = placed.run == run.ordinal
        rows, key = rows[mine], placed.key[mine]
    else:
        key = placed.key
    key = np.where(key == NONE, other, key)
    waits, allocs = (calls_that(trace, rows, roles) for roles in (SYNCHRONIZING, ALLOCATING))
    return HostFigures(
        syncs=np.bincount(key[waits], minlength=keys).astype(np.int64),
        sync_wait_ns=sums(key[waits], events.dur_ns[rows][waits], keys),
        allocs=np.bincount(key[allocs], minlength=keys).astype(np.int64),
        alloc_ns=sums(key[allocs], events.dur_ns[rows][allocs], keys),
        host_ns=_host_ns(run, other),
    )


def _host_ns(run: RunTimeline, other: int) -> IntArray:
    """Host time inside the ranges of each key, ranges within them excluded."""
    total = np.zeros(len(run.keys), np.int64)
    for timeline in host_timelines(run.ranges).values():
        total += sums(*exclusive(timeline), len(run.keys))
    if run.generate_start_ns is not None and run.generate_end_ns is not None:
        _, length = exclusive(run.host)
        total[other] += run.generate_end_ns - run.generate_start_ns - int(length.sum())
    return total


def exclusive(host: HostTimeline) -> tuple[IntArray, IntArray]:
    """Keys and lengths in ns of the stretches of a thread in each stage, children excluded."""
    length = np.diff(host.boundary_ns)
    inside = host.key[:-1] != NONE
    return host.key[:-1][inside].astype(np.int64), length[inside]


def groups_by_stage(keys: Sequence[StageKey], stages: Sequence[str]) -> IntArray:
    """The stage number of each key."""
    number = {stage: i for i, stage in enumerate(stages)}
    return np.array([number[k.stage] for k in keys], np.int64)
