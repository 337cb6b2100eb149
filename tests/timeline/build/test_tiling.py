"""Tiling, by cases computed by hand and against a plain implementation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import DATA
from tests.timeline.building import TraceBuilder
from tests.timeline.plain import PlainOp, PlainRange, windows
from trace_timing.timeline.build.model import RunTimeline, State
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.files.reading import open_trace

DEVICE_BOUND = DATA / "device_bound" / "traces"


def by_stage(run: RunTimeline, *states: State) -> dict[str, int]:
    """Time of each stage in the given states (all, where none is given)."""
    total: Counter[str] = Counter()
    tiles = run.tiles
    for start, end, key, state in zip(
        tiles.start_ns, tiles.end_ns, tiles.key, tiles.state, strict=True
    ):
        if not states or state in states:
            total[run.keys[key].stage] += int(end - start)
    return dict(total)


def only_run(builder: TraceBuilder) -> RunTimeline:
    """The one run of a trace."""
    (run,) = lay_out(builder.trace()).runs
    return run


def test_a_host_a_step_ahead_does_not_shorten_the_device_s_step() -> None:
    # Both steps are launched by 30, while the first runs until 60 and the second until 100.
    run = only_run(
        TraceBuilder()
        .range("generate", 0, 40)
        .range("decode[1]", 0, 20)
        .range("decode[2]", 20, 40)
        .op(10, 60, launch=5)
        .op(60, 100, launch=25)
    )
    keys = {run.keys[k].step: 0 for k in run.tiles.key}
    for start, end, key in zip(run.tiles.start_ns, run.tiles.end_ns, run.tiles.key, strict=True):
        keys[run.keys[key].step] += int(end - start)
    assert keys == {1: 60, 2: 40}


def test_a_graph_launched_whole_belongs_to_the_range_of_its_launch() -> None:
    run = only_run(
        TraceBuilder()
        .range("generate", 0, 100)
        .range("prefill", 0, 50)
        .range("decode[1]", 50, 100)
        .graph(40, [(60, 70), (70, 80), (85, 90)])
    )
    assert [run.keys[k].stage for k in run.ops.key] == ["prefill"] * 3
    # Idle and empty until the launch; queued from 40 to 60 and 80 to 85; empty again from 90.
    assert by_stage(run) == {"prefill": 90, "decode": 10}
    assert by_stage(run, State.QUEUED) == {"prefill": 25}


def test_of_overlapping_streams_the_op_launched_first_has_the_instant() -> None:
    run = only_run(
        TraceBuilder()
        .range("generate", 0, 100)
        .range("vision", 0, 10)
        .range("prefill", 10, 20)
        .op(30, 70, launch=5, stream=7)
        .op(25, 90, launch=15, stream=13)
    )
    assert by_stage(run, State.BUSY) == {"prefill": 5 + 20, "vision": 40}


def test_an_idle_gap_goes_to_the_next_op_where_work_is_queued_and_else_to_the_host() -> None:
    queued = only_run(
        TraceBuilder()
        .range("generate", 0, 60)
        .range("prefill", 0, 30)
        .range("decode[1]", 30, 60)
        .op(2, 10, launch=1)
        .op(40, 60, launch=31)
    )
    # 10 to 30 empty in prefill, 30 to 31 empty in decode, 31 to 40 queued for decode.
    assert by_stage(queued, State.EMPTY) == {"prefill": 1 + 20, "decode": 1}
    assert by_stage(queued, State.QUEUED) == {"prefill": 1, "decode": 9}


def test_an_op_that_seems_to_start_before_its_launch_hides_no_other_that_is_queued() -> None:
    # By the device's clock the first op starts at 10; by the host's it is launched at 50.
    skewed = only_run(
        TraceBuilder()
        .range("generate", 0, 60)
        .range("prefill", 0, 60)
        .op(10, 20, launch=50)
        .op(40, 48, launch=5)
    )
    # The second is queued from 5 until it starts, but for the time that the first runs.
    assert by_stage(skewed, State.QUEUED) == {"prefill": 5 + 20}
    assert by_stage(skewed, State.BUSY) == {"prefill": 10 + 8}
    assert by_stage(skewed, State.EMPTY) == {"prefill": 5 + 12}


def test_of_ops_that_start_together_the_wait_belongs_to_the_one_launched_first() -> None:
    run = only_run(
        TraceBuilder()
        .range("generate", 0, 60)
        .range("vision", 0, 10)
        .range("prefill", 10, 60)
        .op(40, 50, launch=12, stream=7)
        .op(40, 50, launch=8, stream=8)
    )
    assert by_stage(run, State.QUEUED) == {"vision": 32}
    assert by_stage(run, State.BUSY) == {"vision": 10}


def test_the_window_reaches_to_the_last_op_after_generate_returned() -> None:
    run = only_run(
        TraceBuilder().range("generate", 0, 50).range("prefill", 0, 50).op(45, 80, launch=40)
    )
    assert (run.window_start_ns, run.window_end_ns) == (0, 80)
    assert by_stage(run) == {"prefill": 80}


def test_devices_are_tiled_each_alone_and_together() -> None:
    run = only_run(
        TraceBuilder()
        .range("generate", 0, 100)
        .range("prefill", 0, 100)
        .op(10, 40, launch=1, device=0)
        .op(30, 60, launch=2, device=1)
    )
    busy = {d: c.length_ns[c.state == State.BUSY].sum() for d, c in run.device_cells.items()}
    assert busy == {0: 30, 1: 30}
    assert by_stage(run, State.BUSY) == {"prefill": 50}


def test_a_device_bound_recording_gives_the_device_s_time_not_the_host_s() -> None:
    (path,) = DEVICE_BOUND.glob("*.json.gz")
    (run,) = lay_out(open_trace(path)).runs
    window, busy = by_stage(run), by_stage(run, State.BUSY)
    host = {run.keys[r.key].stage: 0 for r in run.ranges if r.key is not None}
    for item in run.ranges:
        host[run.keys[item.key].stage] += item.end_ns - item.start_ns
    assert sum(busy.values()) > 0.9 * sum(window.values())
    assert busy["decode"] > 0.9 * window["decode"]
    # An implementation that goes by the host's ranges would give these instead.
    assert host["decode"] < 0.6 * window["decode"]
    assert host["prefill"] < 0.4 * window["prefill"]


NS = st.integers(0, 60)


@st.composite
def spans(draw: st.DrawFn, low: int, high: int) -> tuple[int, int]:
    """Begin and end, begin < end."""
    start = draw(st.integers(low, high - 1))
    return start, draw(st.integers(start + 1, high))


@st.composite
def nested(draw: st.DrawFn, thread: int, low: int, high: int, depth: int) -> list[PlainRange]:
    """Properly nested stage ranges of one thread."""
    ranges: list[PlainRange] = []
    at = low
    while at < high - 1 and draw(st.booleans()):
        start, end = draw(spans(at, high))
        stage = draw(st.sampled_from(["vision", "prefill", "decode[1]", "sampling[0]", "draft"]))
        ranges.append(PlainRange(stage, thread, start, end))
        if depth:
            ranges += draw(nested(thread, start, end, depth - 1))
        at = end
    return ranges


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[PlainOp], list[PlainRange], PlainRange]:
    """A generate range, nested ranges on two threads, ops that lag, overlap and lose launches."""
    generate = PlainRange(None, 0, *draw(spans(5, 50)))
    ranges = draw(nested(0, generate.start, generate.end, 2))
    ranges.append(PlainRange("prefill", 0, generate.start, generate.end))
    if draw(st.booleans()):
        ranges += draw(nested(1, generate.start, generate.end, 1))
    ops = []
    for _ in range(draw(st.integers(0, 8))):
        start, end = draw(spans(0, 70))
        launch = draw(st.none() | st.tuples(st.integers(0, 2), st.integers(0, start)))
        ops.append(PlainOp(start, end, launch, draw(st.integers(0, 1))))
    return ops, ranges, generate


@settings(max_examples=300)
@given(scenes())
def test_it_is_what_a_plain_implementation_finds(
    scene: tuple[list[PlainOp], list[PlainRange], PlainRange],
) -> None:
    ops, ranges, generate = scene
    distinct = len({op.launch[1] if op.launch else op.start for op in ops}) == len(ops)
    builder = TraceBuilder().range("generate", generate.start, generate.end)
    # The enclosing prefill first, so that of equal ranges it is the outer one.
    for item in sorted(ranges, key=lambda r: (r.start, -r.end)):
        builder.range(str(item.stage), item.start, item.end, thread=item.thread)
    for i, op in enumerate(ops):
        thread, launch = op.launch if op.launch else (0, None)
        builder.op(
            op.start, op.end, launch=launch, thread=thread, device=op.device, stream=i
        )  # fmt: skip
    timeline = lay_out(builder.trace())
    (run,) = timeline.runs
    window, busy, queued = windows(ops, ranges, generate)
    assert sum(by_stage(run).values()) == run.window_end_ns - run.window_start_ns
    assert sum(by_stage(run).values()) == sum(window.values())
    assert sum(by_stage(run, State.BUSY).values()) == sum(busy.values())
    if distinct and _unambiguous(ranges):
        strip = {s: s.split("[")[0] for s in (*window, *busy, *queued)}
        assert by_stage(run) == {strip[s]: n for s, n in window.items()}
        assert by_stage(run, State.BUSY) == {strip[s]: n for s, n in busy.items()}
        assert by_stage(run, State.QUEUED) == {strip[s]: n for s, n in queued.items()}


def _unambiguous(ranges: list[PlainRange]) -> bool:
    """No two ranges of one thread that are the same interval: either could be the inner one."""
    spots = [(r.thread, r.start, r.end) for r in ranges]
    return len(set(spots)) == len(spots)


@pytest.mark.parametrize("width", [1, 2, 3, 7, 64, 1000])
def test_a_long_op_owns_every_instant_that_no_earlier_launched_one_covers(width: int) -> None:
    builder = TraceBuilder().range("generate", 0, 4 * width).range("vision", 0, 1)
    builder.range("prefill", 1, 4 * width).op(0, 4 * width, launch=1)
    for i in range(width):
        builder.op(4 * i, 4 * i + 2, launch=0 if i % 2 else 2)
    run = only_run(builder)
    tiled = by_stage(run)
    vision = 2 * (width // 2)
    assert tiled.get("vision", 0) == vision
    assert tiled["prefill"] == 4 * width - vision
    assert bool(np.all(run.tiles.end_ns[:-1] == run.tiles.start_ns[1:]))
