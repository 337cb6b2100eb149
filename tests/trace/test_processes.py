"""Whose an event is in a merged trace: told by what the file says, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trace.files.test_store import assert_same
from tests.trace.kineto_files import write
from tests.trace.merged_ranks import Event, document, labelled, offset, rank_events, without
from trace_timing.errors import AttributionError, TraceError
from trace_timing.timeline.build.processes import lay_out_each
from trace_timing.trace.events import GPU_OP_KINDS, NONE, Kind, Trace
from trace_timing.trace.files.store import read_store, write_store
from trace_timing.trace.kineto.reader import read_trace
from trace_timing.trace.links import gpu_op_rows, launch_rows
from trace_timing.trace.processes import by_process, label_of, ranks_of

FIRST = rank_events()
SECOND = rank_events(pid=4243, shift_us=7)
SECOND_ON_1 = rank_events(pid=4243, shift_us=7, device=1)
OTHER_IDS = rank_events(pid=4243, shift_us=7, first_id=901)
OLD_STORES = Path(__file__).parent / "data"


def read(tmp_path: Path, events: list[Event]) -> Trace:
    return read_trace(write(tmp_path / "merged.json", document(events)))


def assert_two_whole_ranks(trace: Trace) -> None:
    parts = by_process(trace)
    assert [part.info.rank for part in parts] == [0, 1]
    for part in parts:
        ops, launches = gpu_op_rows(part.events), launch_rows(part.events)
        assert len(ops) == 9
        assert (launches != NONE).all()
        pids = {part.threads[code][0] for code in part.events.thread if code != NONE}
        assert pids == set(part.info.processes)
        # Launch by launch in order, each before its op: none is the other rank's.
        assert (np.diff(part.events.start_ns[launches]) > 0).all()
        assert (part.events.start_ns[launches] < part.events.start_ns[ops]).all()
        assert set((part.events.start_ns[ops] - part.events.start_ns[launches]).tolist()) == {
            *(7_000, 22_000, 37_000, 51_000, 55_000, 58_000, 62_000, 65_000, 69_000)
        }


@pytest.mark.parametrize(
    "events",
    [
        labelled(FIRST, "[TP00]") + labelled(SECOND, "[TP01]"),
        labelled(FIRST, "[TP00]") + labelled(SECOND_ON_1, "[TP01]"),
        labelled(FIRST, "[TP00-DP00]") + labelled(SECOND, "[TP00-DP01]"),
        labelled(FIRST, "[TP00]") + labelled(rank_events(shift_us=7), "[TP01]"),  # one pid in both
        labelled(SECOND, "Rank 1:") + labelled(FIRST, "Rank 0:"),
        offset(FIRST, 0) + offset(SECOND, 1),
        offset(FIRST, 0) + offset(rank_events(shift_us=7), 1),
        FIRST + OTHER_IDS,
    ],
    ids=["one device", "two devices", "two labels", "one pid", "ranks", "offset", "pid", "ids"],
)
def test_two_ranks_that_the_file_tells_apart_are_two_traces(
    tmp_path: Path, events: list[Event]
) -> None:
    shuffled = sorted(events, key=lambda event: event["ts"])
    for some in (events, shuffled):
        parts = by_process(read(tmp_path, some))
        begins = [int(part.events.start_ns.min()) for part in parts]
        assert begins == [5_000_000_000, 5_000_007_000]
        assert_two_whole_ranks(read(tmp_path, some))


@pytest.mark.parametrize(
    "events",
    [
        FIRST + SECOND,
        FIRST + SECOND_ON_1,
        offset(FIRST, 0, ids=False) + offset(SECOND, 1, ids=False),
        # The second rank's op 105 lost its launch, and the first rank has such an id.
        FIRST + without(SECOND_ON_1, 105, "cuda_runtime"),
        # An id that one rank alone has, in between ids that both have.
        FIRST + without(SECOND, 105, "kernel") + without(rank_events(pid=1), 1, "kernel"),
        labelled(FIRST, "[TP00]") + labelled(SECOND, "[TP00]"),
        # Nobody launched on the device that one op is on.
        FIRST + OTHER_IDS + [e for e in rank_events(device=1, first_id=5) if e["cat"] == "kernel"],
    ],
    ids=["one device", "two devices", "offset", "lost", "three", "one label", "no launch"],
)
def test_a_file_that_does_not_tell_whose_an_op_is_is_refused(
    tmp_path: Path, events: list[Event]
) -> None:
    with pytest.raises(TraceError, match="does not tell whose each GPU op is") as caught:
        read(tmp_path, events)
    assert "correlation" in caught.value.why
    assert "each process by itself" in caught.value.remedy


def test_ranks_without_host_events_are_told_by_their_labels(tmp_path: Path) -> None:
    ops = [[e for e in some if e["cat"] == "kernel"] for some in (FIRST, SECOND)]
    trace = read(tmp_path, labelled(ops[0], "[TP00]") + labelled(ops[1], "[TP01]"))
    assert [len(part.events) for part in by_process(trace)] == [9, 9]
    mixed = read(tmp_path, labelled(FIRST, "[TP00]") + labelled(ops[1], "[TP01]"))
    assert [len(part.events) for part in by_process(mixed)] == [len(FIRST), 9]


def test_ops_of_a_second_process_on_one_device_are_not_the_first_ones(tmp_path: Path) -> None:
    ops = offset([e for e in SECOND if e["cat"] == "kernel"], 1)
    with pytest.raises(TraceError, match="several processes"):
        read(tmp_path, offset(FIRST, 0) + ops)


def test_an_op_without_a_launch_is_its_labels_or_its_devices(tmp_path: Path) -> None:
    lost = without(SECOND_ON_1, 105, "cuda_runtime")
    by_label = read(tmp_path, labelled(FIRST, "[TP00]") + labelled(lost, "[TP01]"))
    by_device = read(
        tmp_path,
        FIRST + without(rank_events(pid=4243, device=1, first_id=901), 905, "cuda_runtime"),
    )
    for trace in (by_label, by_device):
        assert [len(gpu_op_rows(part.events)) for part in by_process(trace)] == [9, 9]
        assert (launch_rows(by_process(trace)[1].events) == NONE).sum() == 1


def test_two_recordings_of_one_pid_in_one_file_are_refused(tmp_path: Path) -> None:
    later = rank_events(shift_us=1000)
    trace = read(tmp_path, FIRST + later)
    with pytest.raises(AttributionError, match="one correlation id") as caught:
        launch_rows(trace.events)
    assert "9 such calls, the first with id 101" in caught.value.why


def test_a_driver_call_inside_a_runtime_call_shares_its_id(tmp_path: Path) -> None:
    inner = [
        {**e, "cat": "cuda_driver", "name": "cuLaunchKernel", "ts": e["ts"] + 1, "dur": 2.0}
        for e in FIRST
        if e["cat"] == "cuda_runtime"
    ]
    trace = read(tmp_path, FIRST + inner)
    names = {trace.names[trace.events.name[row]] for row in launch_rows(trace.events)}
    assert names == {"cudaLaunchKernel"}


def test_a_trace_of_one_process_is_left_as_it_is(tmp_path: Path) -> None:
    trace = read(tmp_path, FIRST)
    assert by_process(trace) == (trace,)
    assert trace.info.processes == ()
    assert (trace.events.process == NONE).all()


def test_a_thread_is_one_however_its_number_is_written(tmp_path: Path) -> None:
    kinds = ("cuda_runtime", "user_annotation")
    words = [{**e, "tid": str(e["tid"])} if e["cat"] == kinds[0] else e for e in FIRST]
    floats = [{**e, "tid": float(e["tid"])} if e["cat"] == kinds[1] else e for e in FIRST]
    pids = [{**e, "pid": str(e["pid"])} if e["cat"] == kinds[0] else e for e in FIRST]
    for events in (words, floats, pids):
        trace = read(tmp_path, events)
        assert trace.threads == (("4242", "4242"),)
        assert set(trace.events.thread.tolist()) == {0, NONE}


def test_ranks_are_numbered_by_their_label_else_in_order() -> None:
    assert ranks_of(["[TP01] 7", "[TP03] 5"]) == (1, 3)
    assert ranks_of(["Rank 2", "Rank 10"]) == (0, 1)  # no telling label from pid
    assert ranks_of(["[TP00-DP00] 1", "[TP00-DP01] 2"]) == (0, 1)
    assert ranks_of(["399", "4242"]) == (0, 1)
    assert (label_of("[TP01] 4243"), label_of("4243"), label_of("-1")) == ("[TP01]", "", "")


def test_a_stray_call_or_range_of_another_process_numbers_no_rank_anew(tmp_path: Path) -> None:
    call = next(e for e in FIRST if e["name"] == "cudaDeviceSynchronize")
    stray_range = {**FIRST[-1], "pid": 1, "tid": 1, "name": "theirs"}
    for stray in ({**call, "pid": 1, "args": {"correlation": 9999}}, stray_range):
        (part, timeline), *more = lay_out_each(read(tmp_path, [*FIRST, stray]))
        assert (part.info.rank, part.info.processes, more) == (0, ("4242",), [])
        assert [run.window_end_ns - run.window_start_ns for run in timeline.runs] == [129_000]


def test_a_process_that_only_launches_is_named_in_every_part(tmp_path: Path) -> None:
    launch = next(e for e in FIRST if e["name"] == "cudaLaunchKernel")
    op = next(e for e in FIRST if e["cat"] == "kernel")
    assert launch["args"]["correlation"] == op["args"]["correlation"]
    events = [event for event in FIRST if event not in (launch, op)]
    (part,) = by_process(read(tmp_path, [*events, {**launch, "pid": 1, "tid": 1}]))
    assert part.info.launching_only == ("1",)
    (part,) = by_process(read(tmp_path, FIRST))
    assert part.info.launching_only == ()


def test_rank_ten_comes_after_rank_nine(tmp_path: Path) -> None:
    events = [
        event
        for rank in (10, 9)
        for event in labelled(rank_events(shift_us=rank), f"[TP{rank}-PP0]")
    ]
    begins = [int(p.events.start_ns.min()) for p in by_process(read(tmp_path, events))]
    assert begins == [5_000_009_000, 5_000_010_000]


def test_a_process_with_a_label_comes_after_one_without(tmp_path: Path) -> None:
    trace = read(tmp_path, [*labelled(OTHER_IDS, "[TP01]"), *FIRST])
    assert trace.info.processes == ("4242", "[TP01] 4243")


def test_a_store_carries_the_processes(tmp_path: Path) -> None:
    trace = read(tmp_path, labelled(FIRST, "[TP00]") + labelled(SECOND, "[TP01]"))
    write_store(trace, tmp_path / "merged.parquet")
    stored = read_store(tmp_path / "merged.parquet")
    assert_same(stored, trace)
    assert_two_whole_ranks(stored)


def test_a_store_of_the_version_before_is_read(tmp_path: Path) -> None:
    assert_same(read_store(OLD_STORES / "one_rank.v2.parquet"), read(tmp_path, FIRST))
    assert_two_whole_ranks(read_store(OLD_STORES / "other_ids.v2.parquet"))


def test_a_store_of_the_version_before_that_mixes_processes_is_refused() -> None:
    with pytest.raises(TraceError, match="does not tell whose each GPU op is"):
        read_store(OLD_STORES / "merged.v2.parquet")


def test_recorded_traces_hold_one_process(shared: Path) -> None:
    for path in sorted((shared / "traces").glob("*/*.json.gz")):
        trace = read_trace(path)
        assert trace.info.processes == (), path.name
        assert len(trace.events.rows(Kind.RANGE, Kind.CALL, *GPU_OP_KINDS))
