"""How long each decode step takes by the controls, and what the table `steps` says of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stats.evidence import MS, capture, control, recorded, run, times, total_alone
from trace_timing import schema
from trace_timing.records.runs import ControlTimes
from trace_timing.records.segments import ControlSegment
from trace_timing.stats.latency.evidence import Capture, RecordedRun
from trace_timing.stats.latency.sample_table import samples_of
from trace_timing.stats.latency.step_latency import (
    pooled_step,
    step_latencies,
    step_latencies_of,
    with_latencies,
)


def by_step(*steps_ms: float) -> ControlTimes:
    parts = tuple(
        ControlSegment(stage="decode", step=n, duration_ns=round(ms * MS))
        for n, ms in enumerate(steps_ms, 1)
    )
    return ControlTimes(total_ns=sum(p.duration_ns for p in parts), segments=parts)


def table(sample_id: str, steps: int, **more: Any) -> list[dict[str, Any]]:
    row = {
        "sample_id": sample_id, "repeat": 0, "rank": 0, "stage": "decode", "recorded": True,
        "usable": False, "clock": "device", "window_ns": 40 * MS, **more,
    }  # fmt: skip
    return [{**row, "step": n} for n in range(1, steps + 1)]


def filled(
    made: Capture | None, runs: list[RecordedRun], rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    steps = with_latencies(schema.STEPS.of_rows(rows), samples_of(made, runs))
    found: list[dict[str, Any]] = schema.check(steps, schema.STEPS).to_pylist()
    return found


def test_the_controls_in_the_middle_by_total_are_averaged_step_by_step() -> None:
    controls = [by_step(10, 20), by_step(11, 21), by_step(12, 24), by_step(90, 90)]
    found = step_latencies(controls, None)
    assert {n: one[0] for n, one in found.items()} == {
        1: pytest.approx(11.5 * MS),
        2: pytest.approx(22.5 * MS),
    }


def test_what_is_no_label_says_nothing_of_how_far_others_stray() -> None:
    """Two controls take their interval from the capture; attached ones are not of it."""
    usable = [control(times(factor=f, index=i)) for i, f in enumerate((0.99, 1.01))]
    attached = [
        control(times(factor=f, index=i, cupti="attached"), "b") for i, f in enumerate((0.5, 1.5))
    ]
    alone = step_latencies_of(samples_of(capture(usable, [recorded()]), [run()]))
    made = capture([*usable, *attached], [recorded(), recorded("b")])
    beside = step_latencies_of(samples_of(made, [run(), run("b")]))
    (key,) = alone
    assert set(beside) == {key, ("b", 0)}
    assert beside[key] == alone[key]
    assert alone[key][1][1] is not None


def test_the_interval_holds_the_step_and_is_narrower_where_the_capture_is_quiet() -> None:
    quiet = pooled_step([[by_step(10, 20), by_step(10.1, 20.1)]] * 4)
    loud = pooled_step([[by_step(10, 20), by_step(14, 26)]] * 4)
    controls = [by_step(10, 20), by_step(10, 20), by_step(11, 21)]
    narrow, wide = (step_latencies(controls, pooled)[1] for pooled in (quiet, loud))
    for ns, low, high in (narrow, wide):
        assert low is not None
        assert high is not None
        assert low < ns < high
    assert wide[1] < narrow[1] < narrow[2] < wide[2]  # type: ignore[operator]


def test_a_single_control_has_no_interval_of_its_own_and_the_captures_where_there_is_one() -> None:
    assert step_latencies([by_step(10)], None) == {1: (10 * MS, None, None)}
    assert pooled_step([[by_step(10)]]) is None
    pooled = pooled_step([[by_step(10), by_step(11)]])
    assert step_latencies([by_step(10)], pooled)[1][1] is not None


def test_every_step_has_its_latency_beside_what_was_recorded() -> None:
    controls = [control(times(factor=f, index=i)) for i, f in enumerate((0.99, 1, 1.01))]
    rows = filled(capture(controls, [recorded()]), [run()], table("a", 2))
    assert [row["latency_ns"] for row in rows] == [pytest.approx(30 * MS)] * 2
    assert [row["kv_length"] for row in rows] == [101, 102]
    assert [(row["usable"], row["recorded"], row["window_ns"]) for row in rows] == [
        (True, True, 40 * MS)
    ] * 2


def test_steps_sum_to_the_samples_decode() -> None:
    controls = [control(times(factor=f, index=i)) for i, f in enumerate((0.9, 1, 1.3, 1.1))]
    made = capture(controls, [recorded()])
    (sample,) = samples_of(made, [run()])
    rows = filled(made, [run()], table("a", 2))
    assert sum(row["latency_ns"] for row in rows) == pytest.approx(
        sample.latency.ns["T_LLM_decode"], abs=2
    )


def test_a_sample_that_was_not_recorded_has_rows_with_its_latency_alone() -> None:
    rows = filled(capture([control(times(steps=3))]), [], [])
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert {row["recorded"] for row in rows} == {False}
    assert {row["window_ns"] for row in rows} == {None}
    assert [row["kv_length"] for row in rows] == [101, 102, 103]


def test_attached_steps_are_not_usable_and_scaled_ones_not_known() -> None:
    attached = capture([control(times(cupti="attached"))], [recorded()])
    assert [(r["latency_ns"], r["usable"]) for r in filled(attached, [run()], table("a", 2))] == [
        (30 * MS, False)
    ] * 2
    totals = capture([control(total_alone(100))], [recorded()])
    assert {r["latency_ns"] for r in filled(totals, [run()], table("a", 2))} == {None}
    others = filled(None, [run()], table("a", 2))
    assert {(r["latency_ns"], r["kv_length"], r["usable"]) for r in others} == {(None, None, False)}


def test_a_server_steps_prefill_is_no_samples_step() -> None:
    made = capture([control(times())], [recorded()])
    (row,) = filled(made, [run()], table("a", 1, stage="prefill"))
    assert (row["latency_ns"], row["kv_length"], row["usable"]) == (None, None, False)
