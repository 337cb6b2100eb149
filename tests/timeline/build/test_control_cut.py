"""A recorded run is cut where a control's events would have been reached."""

from __future__ import annotations

from tests.timeline.building import TraceBuilder
from trace_timing.timeline.build.control_cut import by_stage, segments_of
from trace_timing.timeline.build.runs import lay_out


def ranges() -> TraceBuilder:
    """Prefill from 100, sampling from 400, a decode step from 500 to 800, all in 0 … 1,000."""
    built = TraceBuilder()
    built.range("generate", 0, 1000).range("prefill", 100, 400)
    return built.range("sampling[0]", 400, 500).range("decode[1]", 500, 800)


def test_where_the_device_keeps_up_the_cut_is_the_hosts() -> None:
    (run,) = lay_out(ranges().op(160, 300, launch=150).op(560, 700, launch=550).trace()).runs
    assert segments_of(run) == {
        ("other", None): 300,
        ("prefill", None): 300,
        ("sampling", 0): 100,
        ("decode", 1): 300,
    }


def test_a_boundary_is_reached_once_all_that_was_launched_before_it_has_ended() -> None:
    built = ranges().op(160, 650, launch=150)  # prefill's, and the host is two boundaries ahead
    (run,) = lay_out(built.op(660, 900, launch=550).trace()).runs
    assert segments_of(run) == {
        ("other", None): 200,  # 0 to 100, and 900 to 1,000
        ("prefill", None): 550,
        ("sampling", 0): 0,
        ("decode", 1): 250,
    }


def test_the_segments_of_a_run_sum_to_it() -> None:
    (run,) = lay_out(ranges().op(160, 650, launch=150).op(660, 1200, launch=550).trace()).runs
    assert sum(segments_of(run).values()) == 1200
    assert by_stage(segments_of(run))["decode"] == 550
