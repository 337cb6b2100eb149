"""Why a run took its time, where not every step of it was recorded."""

from __future__ import annotations

from collections import Counter

from tests.timeline.switched import Rows, six_steps
from trace_timing.stats.trace.diagnosis import WHY_TABLES, why
from trace_timing.stats.trace.roofline import work_by_stage
from trace_timing.timeline.breakdown.idle_causes import idle_stretches
from trace_timing.timeline.build.recorded_part import recorded_keys


def rows() -> Rows:
    """Steps 1 and 6 recorded, with 60 and 50 ns busy of 90 each; the guard step with 30."""
    built = six_steps().op(120, 180, launch=115).op(560, 590, launch=520)
    return Rows(built.op(630, 680, launch=615).trace())


def test_figures_are_those_of_the_recorded_steps() -> None:
    found = why(rows().trace, rows().run)
    decode = {"kinds": 110, "idle": 70}
    assert sum(r.busy_ns for r in found.kinds if r.stage == "decode") == decode["kinds"]
    assert sum(r.idle_ns for r in found.idle if r.stage == "decode") == decode["idle"]
    (queue,) = [r for r in found.queue if r.stage == "decode"]
    assert (queue.gpu_ops, queue.launches) == (2, 2)


def test_no_table_has_a_row_of_what_was_not_recorded() -> None:
    found = why(rows().trace, rows().run)
    stages = {row.stage for n in WHY_TABLES if n != "queue_depth" for row in getattr(found, n)}
    assert stages == {"prefill", "decode", "sampling", "other"} & stages
    assert "decode" in stages


def test_the_depth_of_the_queue_is_told_outside_of_gaps_alone() -> None:
    found = why(rows().trace, rows().run)
    starts = [b.start_ns for b in found.queue_depth]
    assert starts
    assert not [start for start in starts if 210 <= start < 610]


def test_idle_stretches_lie_in_recorded_steps_alone() -> None:
    one = rows()
    idle = idle_stretches(one.trace, one.run)
    assert recorded_keys(one.run)[idle.key].all()
    by_stage = Counter[str]()
    for key, begin, end in zip(idle.key, idle.start_ns, idle.end_ns, strict=True):
        by_stage[one.run.keys[key].stage] += int(end - begin)
    assert by_stage["decode"] == 70


def test_a_verdict_says_that_it_is_of_the_recorded_steps() -> None:
    # 20 ns busy of 90 each: the host is what takes the time.
    one = Rows(six_steps().op(130, 150, launch=125).op(640, 660, launch=635).trace())
    found = why(one.trace, one.run).verdicts
    told = [v.evidence for v in found if v.stage == "decode"]
    assert told
    assert all(text.endswith("; in the 2 recorded steps of 6") for text in told)


def test_the_floor_counts_the_recorded_steps_by_their_positions() -> None:
    model = {
        "stages": {"language": {"parameters": 1000, "bytes": 2000}},
        "text_config": {"layers": 1, "heads": 1, "hidden_size": 4, "vocab_size": 10},
    }
    some = work_by_stage(model, tokens_in=10, tokens_out=7, steps=(1, 6))["decode"]
    # Keys and values of 4 each at 2 bytes a value, at 11 and 16 positions.
    assert some.kv_bytes == 2 * 4 * 2 * (11 + 16)
    everything = work_by_stage(model, tokens_in=10, tokens_out=7)["decode"]
    same = work_by_stage(model, tokens_in=10, tokens_out=7, steps=range(1, 7))["decode"]
    assert everything == same
