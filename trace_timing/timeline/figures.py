"""The figures of every key of a run, from its tiles, ops, calls and ranges, as arrays over keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_timing.call_names import ALLOCATING, SYNCHRONIZING
from trace_timing.timeline.attribution import HostMap
from trace_timing.timeline.layout import HostTimeline, RunOps, RunTimeline, StageKey, State, Tiles
from trace_timing.timeline.ranges import host_timelines
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import NONE, Kind, Trace
from trace_timing.units import IntArray


@dataclass(frozen=True, kw_only=True)
class DeviceFigures:
    """What the device's timeline says of k groups of keys; all arrays have k entries."""

    window_ns: IntArray
    busy_ns: IntArray
    idle_ns: IntArray
    queued_ns: IntArray
    kernel_sum_ns: IntArray
    #: First op's start and last op's end; begin > end where a group has no op.
    first_start_ns: IntArray
    last_end_ns: IntArray
    gpu_ops: IntArray
    launches: IntArray


@dataclass(frozen=True, kw_only=True)
class HostFigures:
    """What the host did in k groups of keys; all arrays have k entries."""

    syncs: IntArray
    sync_wait_ns: IntArray
    allocs: IntArray
    alloc_ns: IntArray
    host_ns: IntArray


def sums(group: npt.NDArray[np.integer], values: IntArray, count: int) -> IntArray:
    """Exact integer sums of values by group; `count` entries."""
    total = np.zeros(count, np.int64)
    np.add.at(total, group, values)
    return total


def device_figures(tiles: Tiles, ops: RunOps, group_of_key: IntArray, groups: int) -> DeviceFigures:
    """Sum tiles and ops by group.

    Args:
        group_of_key: the group of each key of the run, e.g. its stage.
    """
    tile_group = group_of_key[tiles.key]
    length = tiles.end_ns - tiles.start_ns
    # Group and state as one number: a sum by both in one pass.
    by_both = sums(tile_group * len(State) + tiles.state, length, groups * len(State))
    by_state = by_both.reshape(groups, len(State)).T
    op_group = group_of_key[ops.key]
    first = np.full(groups, np.iinfo(np.int64).max)
    last = np.full(groups, np.iinfo(np.int64).min)
    np.minimum.at(first, op_group, ops.start_ns)
    np.maximum.at(last, op_group, ops.end_ns)
    return DeviceFigures(
        window_ns=by_state.sum(axis=0),
        busy_ns=by_state[State.BUSY],
        idle_ns=by_state[State.QUEUED] + by_state[State.EMPTY],
        queued_ns=by_state[State.QUEUED],
        kernel_sum_ns=sums(op_group, ops.end_ns - ops.start_ns, groups),
        first_start_ns=first,
        last_end_ns=last,
        gpu_ops=np.bincount(op_group, minlength=groups).astype(np.int64),
        launches=_launches(ops, op_group, groups),
    )


def _launches(ops: RunOps, op_group: IntArray, groups: int) -> IntArray:
    """Distinct launches by group; one of ops in several groups counts in its first op's."""
    linked = ops.launch_row != NONE
    launch, group = ops.launch_row[linked], op_group[linked]
    group_of_launch = np.full(int(launch.max(initial=NONE)) + 1, NONE, np.int64)
    group_of_launch[launch[::-1]] = group[::-1]  # of several the last write, the first op, stays
    used = group_of_launch[group_of_launch != NONE]
    return np.bincount(used, minlength=groups).astype(np.int64)


def host_figures(
    trace: Trace, hosts: HostMap, run: RunTimeline, group_of_key: IntArray, groups: int
) -> HostFigures:
    """Sum API calls and exclusive range times by group.

    A call belongs to the stage open on its thread when it begins, as a launch does.
    """
    other = outside_key(run)
    events = trace.events
    calls = events.rows(Kind.CALL)
    placed = hosts.place(events.thread[calls], events.start_ns[calls])
    begins = events.start_ns[calls]
    inside = (begins >= run.window_start_ns) & (begins < run.window_end_ns)
    if run.generate_start_ns is not None:
        inside &= placed.run == run.ordinal
    rows = calls[inside]
    group = group_of_key[np.where(placed.key[inside] == NONE, other, placed.key[inside])]
    waits = calls_that(trace, rows, SYNCHRONIZING)
    allocs = calls_that(trace, rows, ALLOCATING)
    return HostFigures(
        syncs=np.bincount(group[waits], minlength=groups).astype(np.int64),
        sync_wait_ns=sums(group[waits], events.dur_ns[rows][waits], groups),
        allocs=np.bincount(group[allocs], minlength=groups).astype(np.int64),
        alloc_ns=sums(group[allocs], events.dur_ns[rows][allocs], groups),
        host_ns=_host_ns(run, group_of_key, groups, other),
    )


def outside_key(run: RunTimeline) -> int:
    """The key of instants in no stage range: `other`; `unattributed` where a trace has none."""
    nothing_known = not run.ranges and run.generate_start_ns is None
    wanted = "unattributed" if nothing_known else "other"
    return next(i for i, k in enumerate(run.keys) if k.stage == wanted)


def _host_ns(run: RunTimeline, group_of_key: IntArray, groups: int, other: int) -> IntArray:
    total = np.zeros(groups, np.int64)
    for timeline in host_timelines(run.ranges).values():
        key, length = exclusive(timeline)
        total += sums(group_of_key[key], length, groups)
    if run.generate_start_ns is not None and run.generate_end_ns is not None:
        key, length = exclusive(run.host)
        outside = run.generate_end_ns - run.generate_start_ns - int(length.sum())
        total[group_of_key[other]] += outside
    return total


def exclusive(host: HostTimeline) -> tuple[IntArray, IntArray]:
    """Keys and lengths in ns of the stretches in which a thread is in a stage, children apart."""
    length = np.diff(host.boundary_ns)
    inside = host.key[:-1] != NONE
    return host.key[:-1][inside].astype(np.int64), length[inside]


def groups_by_stage(keys: Sequence[StageKey], stages: Sequence[str]) -> IntArray:
    """The stage number of each key."""
    number = {stage: i for i, stage in enumerate(stages)}
    return np.array([number[k.stage] for k in keys], np.int64)
