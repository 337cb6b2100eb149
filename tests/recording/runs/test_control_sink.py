"""The control's segments: each stretch between marks goes to one stage, and they sum exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trace_timing.recording.runs.control_sink import ControlSink, HostMarks, segments_of
from trace_timing.records.segments import ControlSegment

pytestmark = pytest.mark.capture


class SetMarks:
    """Marks whose times the test chooses."""

    clock = "host"

    def __init__(self, times: list[int]) -> None:
        self.times = times
        self.marked = 0

    def mark(self) -> None:
        self.marked += 1

    def since_first_ns(self) -> list[int]:
        return self.times[: self.marked]


def segment(stage: str, step: int | None, duration_ns: int) -> ControlSegment:
    return ControlSegment(stage=stage, step=step, duration_ns=duration_ns)  # type: ignore[arg-type]


def test_each_stretch_goes_to_the_innermost_stage_after_its_first_mark() -> None:
    sink = ControlSink(SetMarks([0, 10, 30, 60, 100, 150, 210, 280]))
    sink.enter("generate", None)
    sink.enter("prefill", None)
    sink.enter("vision_encoder", None)
    sink.exit()
    sink.exit()
    sink.enter("decode", 1)
    sink.exit()
    sink.exit()
    assert sink.times().segments == (
        segment("other", None, 10),
        segment("prefill", None, 20),
        segment("vision_encoder", None, 30),
        segment("prefill", None, 40),
        segment("other", None, 50),
        segment("decode", 1, 60),
        segment("other", None, 70),
    )
    assert sink.times().total_ns == 280


def test_what_lies_between_two_generates_is_in_no_segment() -> None:
    boundaries = [("generate", None), None, ("generate", None), None]
    segments = segments_of(boundaries, [0, 5, 100, 107])  # type: ignore[arg-type]
    assert [s.duration_ns for s in segments] == [5, 7]


@given(
    st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=4), max_leaves=20),
    st.lists(st.integers(0, 10**9), min_size=60, max_size=60),
)
def test_segments_sum_to_the_total_however_the_stages_nest(tree: list, gaps: list[int]) -> None:
    times = [0]
    for gap in gaps:
        times.append(times[-1] + gap)
    marks = SetMarks(times * 3)
    sink = ControlSink(marks)  # type: ignore[arg-type]

    def walk(node: list) -> None:
        for child in node:
            if marks.marked < 55:
                sink.enter("prefill", None)
                walk(child)
                sink.exit()

    sink.enter("generate", None)
    walk(tree)
    sink.exit()
    found = sink.times()
    assert sum(s.duration_ns for s in found.segments) == found.total_ns == times[marks.marked - 1]


def test_host_marks_read_a_clock_that_does_not_go_back() -> None:
    marks = HostMarks()
    for _ in range(100):
        marks.mark()
    times = marks.since_first_ns()
    assert times[0] == 0
    assert times == sorted(times)


def test_a_call_that_never_generated_has_no_time() -> None:
    assert ControlSink(HostMarks()).times().total_ns == 0
