"""Times of a recorded run, by hand."""

from __future__ import annotations

from tests.timeline.building import TraceBuilder
from trace_timing.stats.latency.recorded_times import busy_times, recorded_times
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.timeline.build.runs import lay_out


def two_tokens(*, sampled_until: int = 70) -> RunTimeline:
    """Prefill, sampling[0], one step, sampling[1]; the device is busy for 40, 10, 20 and 5 ns."""
    built = TraceBuilder().range("generate", 10, 150).range("prefill", 10, 50)
    built.range("sampling[0]", 50, 60).range("decode[1]", 60, 100).range("sampling[1]", 100, 120)
    built.op(15, 55, launch=12).op(sampled_until - 10, sampled_until, launch=52)
    (run,) = lay_out(built.op(80, 100, launch=65).op(110, 115, launch=105).trace()).runs
    return run


def test_the_first_token_is_there_when_the_device_has_sampled_it() -> None:
    assert recorded_times(two_tokens())["T_TTFT"] == 70 - 10
    # The host's range ends at 60: the later of the two counts.
    assert recorded_times(two_tokens(sampled_until=58))["T_TTFT"] == 60 - 10


def test_until_the_first_token_the_device_is_busy_for_prefill_and_sampling() -> None:
    assert busy_times(two_tokens())["T_TTFT"] == 40 + 10


def test_the_times_of_a_run_sum_to_its_window() -> None:
    times = recorded_times(two_tokens())
    parts = ("T_LLM_prefill", "T_LLM_decode", "T_sampling", "T_rest")
    known = [value for name in parts if (value := times[name]) is not None]
    assert len(known) == 4
    assert sum(known) == times["T_total"] == 140


def test_without_a_generate_range_nothing_says_when_a_first_token_is_waited_for() -> None:
    built = TraceBuilder().range("prefill", 10, 50).range("sampling[0]", 50, 60)
    (run,) = lay_out(built.op(15, 55, launch=12).trace()).runs
    assert recorded_times(run)["T_TTFT"] is None
