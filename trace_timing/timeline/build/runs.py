"""Build the timeline of each run of a trace: its window, its ops with their stages, its tiling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trace_timing.arrays import IntArray, sorted_distinct
from trace_timing.errors import AttributionError
from trace_timing.timeline.build.attribution import (
    LAUNCH_MISSING,
    NO_STAGE_RANGES,
    OUTSIDE_GENERATE,
    REASONS,
    RECORDING_SWITCH,
    Attribution,
    HostMap,
    host_map,
)
from trace_timing.timeline.build.model import (
    Cells,
    HostTimeline,
    RunOps,
    RunTimeline,
    StageKey,
    StageRange,
    outside_of,
)
from trace_timing.timeline.build.ranges import (
    FoundRanges,
    busiest_thread,
    find_ranges,
    host_timelines,
)
from trace_timing.timeline.build.switches import ops_at_switches, unrecorded_keys
from trace_timing.timeline.build.tiling import tile
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, StageMap
from trace_timing.trace.events import NONE, Trace
from trace_timing.trace.links import gpu_op_rows, launch_rows
from trace_timing.trace.marks import marks_of

OTHER = StageKey("other")
UNATTRIBUTED = StageKey("unattributed")


@dataclass(frozen=True, kw_only=True)
class TraceTimeline:
    """All runs of a trace, and the ops that are in none of them."""

    runs: tuple[RunTimeline, ...]
    #: Shared by all runs; the last two are `other` and `unattributed`.
    keys: tuple[StageKey, ...]
    hosts: HostMap
    #: Unattributed ops that begin in no run's window; `stages` has a row of its own for them.
    stray: RunOps
    #: Unattributed ops by reason.
    unattributed: Mapping[str, int]
    #: Ops launched by a thread without ranges, which take the generating thread's stage.
    borrowed_ops: int
    #: Range names that the stage map does not know.
    unclaimed_ranges: tuple[str, ...]
    has_stage_ranges: bool
    #: Stage ranges or generate ranges: without either, nothing can be attributed.
    has_ranges: bool
    #: Ranges of one stage that cross, as "decode[1] and decode[2] by 2500 ns".
    crossings: tuple[str, ...]
    #: Runs whose windows overlap another's: an op of one runs in the window of the other.
    overlapping_runs: int
    #: Stage ranges that begin in none of the generate ranges that there are.
    outside: tuple[StageRange, ...]
    #: The map that the range names were read with; empty for a file's and the default names.
    stage_map: str
    #: A server's trace: `steps` has its forwards of every kind, numbered by begin.
    serving: bool
    #: Why range names may mean another stage than they were read as → the first such name.
    cautions: Mapping[str, str]


def lay_out(trace: Trace, stage_map: StageMap = DEFAULT_STAGES) -> TraceTimeline:
    """Attribute and tile every run of a trace.

    Raises:
        AttributionError: ranges of one thread cross; or the trace holds several processes (use
            `timeline.build.processes.lay_out_each`).
    """
    if len(trace.info.processes) > 1:
        raise AttributionError(
            f"the trace holds {len(trace.info.processes)} processes, which are never mixed",
            why=", ".join(trace.info.processes[:8]),
            remedy="lay each of them out by itself",
        )
    found = find_ranges(trace, stage_map)
    hosts = host_map(found)
    keys = (*found.keys, OTHER, UNATTRIBUTED)
    ops = attribute(trace, found, hosts, keys)
    windows = _windows(trace, found, ops)
    home = _homes(trace, ops, windows)
    by_run = _ranges_by_run(found, hosts)
    runs = tuple(
        _run(trace, found, hosts, ops, home, by_run.get(i, ()), keys, i, w)
        for i, w in enumerate(windows)
    )
    missing = ops.reason != NONE
    starts = np.array([w[0] for w in windows[1:]], np.int64)
    ends = np.array([w[1] for w in windows[:-1]], np.int64)
    return TraceTimeline(
        runs=runs,
        keys=keys,
        hosts=hosts,
        stray=_run_ops(trace, ops, np.flatnonzero(home == NONE)),
        unattributed=dict(Counter(REASONS[r] for r in ops.reason[missing])),
        borrowed_ops=int(ops.borrowed.sum()),
        unclaimed_ranges=found.unclaimed,
        has_stage_ranges=bool(found.stages),
        has_ranges=bool(found.stages or found.generate),
        crossings=found.crossings,
        overlapping_runs=int((np.maximum.accumulate(ends) > starts).sum()) if len(starts) else 0,
        outside=_outside(found, by_run.get(NONE, ())),
        stage_map=found.stage_map.name,
        serving=found.serving,
        cautions=found.cautions,
    )


def attribute(
    trace: Trace, found: FoundRanges, hosts: HostMap, keys: tuple[StageKey, ...]
) -> Attribution:
    """Assign each GPU op to the run and stage that launched it, or to a reason why not.

    Args:
        keys: those of `found`, then other and unattributed.
    Returns:
        n ops ordered by start; `key` is set for every one.
    """
    events = trace.events
    rows = gpu_op_rows(events)
    launch = launch_rows(events)
    linked = launch != NONE
    time = np.where(linked, events.start_ns[launch], events.start_ns[rows])
    placed = hosts.place(events.thread[launch], time)
    run = np.where(linked, placed.run, NONE)
    without = np.where(ops_at_switches(trace, linked), RECORDING_SWITCH, LAUNCH_MISSING)
    reason = np.where(linked, np.where(run == NONE, OUTSIDE_GENERATE, NONE), without)
    if not (found.stages or found.generate):
        run, reason = np.full(len(rows), NONE, np.int64), np.full(len(rows), NO_STAGE_RANGES)
    unattributed = keys.index(UNATTRIBUTED)
    key = np.where(placed.key == NONE, outside_of(keys, known=True), placed.key)
    return Attribution(
        row=rows,
        launch_row=launch,
        launch_ns=time,
        run=run,
        key=np.where(reason == NONE, key, unattributed).astype(np.int32),
        reason=reason,
        borrowed=placed.borrowed & (reason == NONE),
    )


def _windows(trace: Trace, found: FoundRanges, ops: Attribution) -> list[tuple[int, int]]:
    """Begin and end of each run; none for a trace without ops, ranges or any event.

    Without a generate range one run: from where the first range or op begins until the last ends,
    unattributed ops included.
    """
    ends = trace.events.end_ns[ops.row]
    if found.generate:
        windows = []
        for number, item in enumerate(found.generate):
            mine = ends[ops.run == number]
            last = int(mine.max()) if len(mine) else item.end_ns
            windows.append((item.start_ns, max(item.end_ns, last)))
        return windows
    spans = [(r.start_ns, r.end_ns) for r in found.stages]
    if len(ops.row):
        spans.append((int(trace.events.start_ns[ops.row].min()), int(ends.max())))
    if not spans and len(trace.events):
        spans = [(int(trace.events.start_ns.min()), int(trace.events.end_ns.max()))]
    return [(min(s for s, _ in spans), max(e for _, e in spans))] if spans else []


def _homes(trace: Trace, ops: Attribution, windows: list[tuple[int, int]]) -> IntArray:
    """The run whose tables count each op: its own; of an unattributed op the only run, or the one
    in whose window it begins; else NONE."""
    if len(windows) == 1:
        return np.zeros(len(ops.row), np.int64)
    home = ops.run.copy()
    starts = trace.events.start_ns[ops.row]
    for number, (begin, end) in enumerate(windows):
        home[(home == NONE) & (starts >= begin) & (starts < end)] = number
    return home


def _run(
    trace: Trace,
    found: FoundRanges,
    hosts: HostMap,
    ops: Attribution,
    home: IntArray,
    ranges: tuple[StageRange, ...],
    keys: tuple[StageKey, ...],
    ordinal: int,
    window: tuple[int, int],
) -> RunTimeline:
    """Build one run: its ops, its tiling, and what of it was not recorded."""
    generate = found.generate[ordinal] if found.generate else None
    thread = generate.thread if generate else busiest_thread(ranges)
    host = host_timelines(ranges).get(thread, _NO_STAGES)
    chosen = np.flatnonzero(home == ordinal)
    mine = _run_ops(trace, ops, chosen)
    outside = outside_of(keys, known=bool(found.stages or found.generate))
    cells = tile_ops(window, mine, host, outside_key=outside)
    return RunTimeline(
        ordinal=ordinal,
        window_start_ns=window[0],
        window_end_ns=window[1],
        generate_start_ns=generate.start_ns if generate else None,
        generate_end_ns=generate.end_ns if generate else None,
        generating_thread=thread,
        keys=keys,
        ranges=ranges,
        host=host,
        ops=mine,
        cells=cells,
        device_cells=_device_cells(cells, window, mine, host, outside),
        clock="device" if len(ops.row) else "host",
        unrecorded=unrecorded_keys(
            trace, keys, ranges, hosts, mine, ops.reason[chosen] == RECORDING_SWITCH
        ),
        gaps=marks_of(trace).both,
    )


def _device_cells(
    cells: Cells, window: tuple[int, int], ops: RunOps, host: HostTimeline, outside: int
) -> dict[int, Cells]:
    """The tiling of each device alone; a single device shares the run's."""
    devices: list[int] = sorted_distinct(ops.device).tolist()
    if len(devices) == 1:
        return {devices[0]: cells}
    return {
        d: tile_ops(window, ops.take(ops.device == d), host, outside_key=outside) for d in devices
    }


_NO_STAGES = HostTimeline(np.empty(0, np.int64), np.empty(0, np.int32))


def tile_ops(
    window: tuple[int, int], ops: RunOps, host: HostTimeline, *, outside_key: int
) -> Cells:
    """Tile a window with the ops of a run (`tiling.tile`)."""
    return tile(
        window, ops.start_ns, ops.end_ns, ops.launch_ns, ops.key, host, outside_key=outside_key
    )


def _ranges_by_run(found: FoundRanges, hosts: HostMap) -> dict[int, tuple[StageRange, ...]]:
    """The stage ranges by the run that they begin in, NONE for none: placed as launches are."""
    thread = np.array([r.thread for r in found.stages], np.int32)
    start_ns = np.array([r.start_ns for r in found.stages], np.int64)
    ranges: dict[int, list[StageRange]] = {}
    for item, run in zip(found.stages, hosts.runs_at(thread, start_ns).tolist(), strict=True):
        ranges.setdefault(run, []).append(item)
    return {run: tuple(items) for run, items in ranges.items()}


def _outside(found: FoundRanges, ranges: tuple[StageRange, ...]) -> tuple[StageRange, ...]:
    """Those of the ranges in no run that stand for a stage; the recorder's marks do not."""
    return tuple(r for r in ranges if r.key is not None and found.keys[r.key].stage != "other")


def _run_ops(trace: Trace, ops: Attribution, chosen: IntArray) -> RunOps:
    """The chosen ops of a trace."""
    rows = ops.row[chosen]
    return RunOps(
        row=rows,
        start_ns=trace.events.start_ns[rows],
        end_ns=trace.events.end_ns[rows],
        launch_ns=ops.launch_ns[chosen],
        launch_row=ops.launch_row[chosen],
        key=ops.key[chosen],
        device=trace.events.device[rows],
    )
