"""Faults of ranges and stages, each found by its check; gaps of the host's own making are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.timeline.building import TraceBuilder
from tests.timeline.switched import six_steps
from trace_timing.timeline.build.runs import lay_out
from trace_timing.timeline.integrity.subject import RunSubject, TraceSubject
from trace_timing.timeline.integrity.table import FAILING, run_integrity, trace_integrity
from trace_timing.trace.events import Kind, Trace

T0 = 5_000_000_000_000
FORWARD = 100_000
OPS = 8


class Call:
    """A generate() call built forward by forward; each launches OPS ops, 10 µs apart."""

    def __init__(self, *, base: int = T0) -> None:
        self.built, self.base, self.at = TraceBuilder(), base, 10_000

    def forward(self, name: str | None, *, ops: int = OPS, first: int = 5_000) -> Call:
        """A range (None: its work without one) of 100 µs."""
        begin = self.base + self.at
        if name is not None:
            self.built.range(name, begin, begin + FORWARD)
        for number in range(ops):
            launch = begin + first + 10_000 * number
            self.built.op(launch + 5_000, launch + 9_000, launch=launch)
        self.at += FORWARD
        return self

    def sampling(self, number: int) -> Call:
        """A range of 10 µs with one op."""
        begin = self.base + self.at
        self.built.range(f"sampling[{number}]", begin, begin + 10_000)
        self.built.op(begin + 6_000, begin + 9_000, launch=begin + 1_000)
        self.at += 10_000
        return self

    def end(self) -> Trace:
        """With the generate range around all of it."""
        self.built.range("generate", self.base, self.base + self.at + 5_000)
        return self.built.trace()


def call(steps: int = 4) -> Call:
    """Prefill and decode steps, each with its sampling."""
    made = Call().forward("prefill").sampling(0)
    for number in range(1, steps + 1):
        made.forward(f"decode[{number}]").sampling(number)
    return made


def found(trace: Trace, *, tokens: int | None = None) -> dict[str, str]:
    """Level by code, of the checks that did not pass."""
    timeline = lay_out(trace)
    results = list(trace_integrity(TraceSubject(trace=trace, timeline=timeline)))
    for run in timeline.runs:
        results += run_integrity(
            RunSubject(trace=trace, timeline=timeline, run=run, tokens_out=tokens)
        )
    assert all(r.evidence and "\n" not in r.evidence for r in results)
    return {r.code: r.level for r in results if r.level != "PASS"}


def test_a_sound_call_passes_every_check() -> None:
    assert found(call().end(), tokens=5) == {}


def _gap() -> Trace:
    return Call().forward("prefill").forward("decode[1]").forward("decode[3]").end()


def _first_missing() -> Trace:
    return Call().forward("prefill").forward("decode[2]").forward("decode[3]").end()


def _last_missing() -> Trace:
    return call(3).forward(None).sampling(4).end()


def _last_missing_without_sampling() -> Trace:
    made = Call().forward("prefill")
    return made.forward("decode[1]").forward("decode[2]").forward(None).end()


def _sampling_missing() -> Trace:
    return call(3).forward("decode[4]").end()


def _repeated() -> Trace:
    made = Call().forward("prefill").forward("decode[1]")
    return made.forward("decode[2]").forward("decode[2]").end()


def _no_prefill() -> Trace:
    return Call().forward("decode[1]").forward("decode[2]").end()


def _no_length() -> Trace:
    made = call(2)
    made.built.range("decode[3]", T0 + made.at, T0 + made.at)
    return made.forward(None).sampling(3).end()


def _no_generate() -> Trace:
    return call().built.trace()


def _outside() -> Trace:
    made = call(4)
    made.end()
    made.at += 50_000
    return made.forward("decode[5]").built.trace()


def _generate_goes_on() -> Trace:
    made = call(2)
    made.built.range("generate", T0, T0 + 3 * made.at)
    return made.built.trace()


def _last_stage_goes_on() -> Trace:
    made = call(2)
    made.built.range("sampling[3]", T0 + made.at, T0 + 3 * made.at)
    return made.built.trace()


def _generate_elsewhere() -> Trace:
    made = call(2)
    made.built.range("generate", T0, T0 + made.at + 5_000, thread=3)
    return made.built.trace()


def _part_elsewhere() -> Trace:
    made = call(2)
    made.built.range("vision", T0 + 1_000, T0 + 9_000, thread=3)
    return made.end()


def _ungenerated(*names: str | None, ops: int = OPS) -> Trace:
    """Forwards in no generate range; the last has so many ops."""
    made = Call()
    for name in names[:-1]:
        made.forward(name)
    return made.forward(names[-1], ops=ops).built.trace()


def _at_zero() -> Trace:
    made = call(4)
    made.built.range("decode[5]", 0, 10_000)
    return made.end()


def _lost(place: int) -> Trace:
    """One op's record lost; `place` counts the ops."""
    made = call()
    trace_rows = made.built.rows
    ops = [row for row in trace_rows if row["kind"] == Kind.KERNEL]
    trace_rows.remove(ops[place])
    return made.end()


def _lost_outside() -> Trace:
    made = call()
    made.end()
    made.built.op(T0 + made.at + 20_000, T0 + made.at + 21_000, launch=T0 + made.at + 15_000)
    made.built.rows.pop()
    return made.built.trace()


def _head_lost() -> Trace:
    made = Call().forward("prefill", ops=3, first=60_000).sampling(0)
    for number in range(1, 5):
        made.forward(f"decode[{number}]").sampling(number)
    return made.end()


def _step_lost() -> Trace:
    made = call(3).forward("decode[4]", ops=0)
    return made.sampling(4).end()


def _half_lost() -> Trace:
    return call(4).forward("decode[5]", ops=3).sampling(5).end()


def _buffer_request() -> Trace:
    made = call()
    made.built.add(Kind.OVERHEAD, "Activity Buffer Request", T0 + 120_000, T0 + 180_000)
    return made.end()


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (_gap, {"step_missing": "FAIL"}),
        (_first_missing, {"step_missing": "FAIL"}),
        (_last_missing, {"step_missing": "FAIL", "forward_without_range": "WARN"}),
        (_last_missing_without_sampling, {"forward_without_range": "WARN"}),
        (_sampling_missing, {"sampling_missing": "WARN"}),
        (_repeated, {"step_repeated": "FAIL"}),
        (_no_prefill, {"prefill_missing": "FAIL"}),
        (
            _no_length,
            {
                "zero_length_range": "FAIL",
                "stage_without_ops": "FAIL",
                "forward_without_range": "WARN",
            },
        ),
        (_no_generate, {"no_generate": "WARN"}),
        (_outside, {"ranges_outside_generate": "WARN"}),
        (_at_zero, {"range_at_zero": "FAIL", "ranges_outside_generate": "WARN"}),
        (lambda: _lost(0), {"lost_ops": "FAIL"}),
        (lambda: _lost(20), {"lost_ops": "FAIL"}),
        (_lost_outside, {"lost_ops_outside": "WARN"}),
        (_head_lost, {"late_first_launch": "WARN"}),
        (_step_lost, {"stage_without_ops": "FAIL"}),
        (_half_lost, {"few_ops": "WARN"}),
        (_buffer_request, {"profiler_overhead": "WARN"}),
        (_generate_goes_on, {"range_outlasts": "WARN"}),
        (_last_stage_goes_on, {"no_generate": "WARN", "range_outlasts": "WARN"}),
        (_generate_elsewhere, {"ranges_on_other_thread": "WARN"}),
        (_part_elsewhere, {"ranges_on_other_thread": "WARN"}),
        (
            lambda: _ungenerated("prefill", None, "decode[2]", "decode[3]"),
            {"no_generate": "WARN", "forward_without_range": "WARN"},
        ),
        (
            lambda: _ungenerated(None, "decode[1]", "decode[2]", "decode[3]"),
            {"no_generate": "WARN", "forward_without_range": "WARN"},
        ),
        (
            lambda: _ungenerated("prefill", "decode[1]", "decode[2]", ops=0),
            {"no_generate": "WARN", "stage_without_ops": "FAIL"},
        ),
        (
            lambda: _ungenerated("prefill", "decode[1]", "decode[2]", "decode[3]", ops=2),
            {"no_generate": "WARN", "few_ops": "WARN"},
        ),
    ],
)
def test_each_fault_is_found(broken: Callable[[], Trace], expected: dict[str, str]) -> None:
    assert found(broken()) == expected


@pytest.mark.parametrize(
    ("tokens", "codes"), [(4, {"tokens_not_steps"}), (5, set()), (None, set())]
)
def test_steps_are_held_against_the_tokens(tokens: int | None, codes: set[str]) -> None:
    assert set(found(call().end(), tokens=tokens)) == codes


def test_the_host_waiting_for_room_in_the_queue_is_no_overhead() -> None:
    made = call()
    made.built.add(Kind.OVERHEAD, "Command Buffer Full", T0 + 120_000, T0 + 180_000)
    assert found(made.end()) == {}


def test_a_range_within_one_of_its_own_name_repeats_no_step() -> None:
    made = call(3)
    begin = T0 + made.at
    made.built.range("decode[4]", begin + 1_000, begin + 90_000)
    assert found(made.forward("decode[4]").sampling(4).end()) == {}


def evidence(trace: Trace, code: str) -> str:
    """What a check says that it looked at, or found."""
    timeline = lay_out(trace)
    results = list(trace_integrity(TraceSubject(trace=trace, timeline=timeline)))
    for run in timeline.runs:
        results += run_integrity(RunSubject(trace=trace, timeline=timeline, run=run))
    (result,) = [r for r in results if r.code == code]
    return result.evidence


def test_a_generate_range_at_zero_is_counted_too() -> None:
    made = call()
    made.built.range("generate", 0, 10_000)
    trace = made.end()
    assert found(trace)["range_at_zero"] == "FAIL"
    assert evidence(trace, "range_at_zero").startswith("1 ranges; the other events begin at ")


def test_a_trace_in_which_nothing_is_at_zero_or_all_is_near_it_passes() -> None:
    # Prefill, four steps, five samplings and generate itself.
    assert evidence(call().end(), "range_at_zero") == "11 ranges"
    made = Call(base=-10_000).forward("prefill").forward("decode[1]")
    assert evidence(made.end(), "range_at_zero") == "3 ranges"


def test_overhead_is_found_after_a_range_that_is_not_looked_at() -> None:
    made = call()
    made.built.range("recording_off", T0 + 1_000, T0 + 2_000)
    made.built.add(Kind.OVERHEAD, "Activity Buffer Request", T0 + 120_000, T0 + 180_000)
    assert found(made.end())["profiler_overhead"] == "WARN"


def test_two_calls_at_once_on_two_threads_have_each_their_own_ranges() -> None:
    built = TraceBuilder()
    for thread, begin in ((0, T0), (1, T0 + 40_000)):
        built.range("generate", begin, begin + 200_000, thread=thread)
        for number, name in enumerate(("prefill", "decode[1]")):
            at = begin + 10_000 + 90_000 * number
            built.range(name, at, at + 80_000, thread=thread)
            built.op(at + 6_000, at + 70_000, launch=at + 1_000, thread=thread, stream=7 + thread)
    assert "ranges_on_other_thread" not in found(built.trace())


def test_others_number_steps_from_where_they_like() -> None:
    made = Call().forward("prefill").forward("decode[7]").forward("decode[8]")
    assert found(made.built.trace()) == {"no_generate": "WARN"}


def test_steps_that_the_trace_marks_as_not_recorded_are_no_fault() -> None:
    built = six_steps()
    for step in (1, 5, 6):  # 2 to 4 lie in the gap, 5 is the guard step after it
        begin = 10 + 100 * step
        built.op(begin + 20, begin + 60, launch=begin + 5)
    assert found(built.trace()) == {}
    del built.rows[-4:]  # the launches and ops of 5 and 6: the latter was recorded
    assert found(built.trace()) == {"stage_without_ops": "FAIL"}


def test_a_wait_across_a_gap_in_the_recording_says_nothing() -> None:
    """An op is launched before recording is off for ten seconds, and runs when it is on again."""
    ten = 10_000_000_000
    built = TraceBuilder().range("generate", T0, T0 + ten + 400_000)
    built.range("prefill", T0, T0 + 90_000).op(T0 + 10_000, T0 + 20_000, launch=T0 + 5_000)
    built.range("recording_off", T0 + 100_000, T0 + ten + 100_000)
    built.range("recording_guard", T0 + ten + 100_000, T0 + ten + 200_000)
    built.range("decode[1]", T0 + 95_000, T0 + ten + 100_000)
    built.range("decode[2]", T0 + ten + 100_000, T0 + ten + 200_000)
    built.op(T0 + ten + 150_000, T0 + ten + 160_000, launch=T0 + 99_000)
    assert "absurd_wait" not in found(built.trace())


def test_what_fails_leaves_no_label_and_what_warns_does() -> None:
    assert {"lost_ops", "corrupt_durations", "step_missing", "absurd_wait"} <= FAILING
    assert not {"no_generate", "clock_skew", "profiler_overhead", "lost_ops_outside"} & FAILING
