"""Each warning about a capture's latencies is given where it is due, and not elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.stats.evidence import STAGES, capture, control, recorded, run, times, total_alone
from trace_timing.records.findings import FigureWarning
from trace_timing.records.runs import RunRecord
from trace_timing.stats.latency.evidence import Capture, RecordedRun
from trace_timing.stats.latency.sample_table import samples_of
from trace_timing.stats.latency.warnings import latency_warnings


def warnings(made: Capture | None, runs: list[RecordedRun]) -> dict[str, FigureWarning]:
    return {w.code: w for w in latency_warnings(samples_of(made, runs))}


def good(**more: Any) -> list[RunRecord]:
    return [control(times(factor=f, index=i), **more) for i, f in enumerate((0.99, 1, 1.01))]


def test_a_sample_with_controls_without_a_profiler_needs_no_warning() -> None:
    assert warnings(capture(good(), [recorded()]), [run()]) == {}


def test_attached_controls_are_named_with_what_they_cost_and_how_to_do_without() -> None:
    detach = {"why_not": "CUDA graphs were replayed", "attached_ratio": {"median": 1.34}}
    made = capture([control(times(cupti="attached"))], [recorded()], detach=detach)
    found = warnings(made, [run()])["controls_attached"]
    assert found.evidence == (
        "1 of 1 samples; an empty launch took ×1.34 as long after a session as before; "
        "CUDA graphs were replayed"
    )
    assert "--order controls-first" in found.remedy
    plain = warnings(capture([control(times(cupti="attached"))], [recorded()]), [run()])
    assert plain["controls_attached"].evidence == "1 of 1 samples"


def test_a_captures_sample_without_controls_is_too_long() -> None:
    found = warnings(capture([], [recorded()]), [run()])["no_control"]
    assert found.evidence == "1 of 1 samples"
    assert warnings(None, [run()]) == {}, "others' traces never have any"


def test_stages_scaled_to_a_total_are_said_to_be() -> None:
    totals = [control(total_alone(ms, index=i)) for i, ms in enumerate((99, 100, 101))]
    found = warnings(capture(totals, [recorded()]), [run()])
    assert found["scaled_by_total"].evidence == "1 samples"


@pytest.mark.parametrize(
    ("ratios", "code"),
    [
        ((1.3, 1.31, 1.29, 1.3), None),
        ((1.0, 1.9, 1.2, 1.5), "scaled_interval_wide"),
        ((1.3, 1.3), "scaled_without_interval"),
    ],
)
def test_scaled_latencies_say_how_sure_they_are(ratios: tuple[float, ...], code: str) -> None:
    ids = [f"s{i}" for i in range(len(ratios))]
    controls = [control(times(), sample_id) for sample_id in ids]
    runs = [run(i, factor=ratio) for i, ratio in zip(ids, ratios, strict=True)]
    made = capture(controls, [recorded(i) for i in (*ids, "a")])
    found = set(warnings(made, [*runs, run()]))
    assert found == ({code} if code else set())


def test_more_gpu_work_than_latency_means_that_recording_stretched_it() -> None:
    found = warnings(capture(good(), [recorded()]), [run(busy=0.9)])["busy_above_latency"]
    assert found.sample_id == "a"
    assert "1 of 1 samples, worst a: busy 117.000 ms, latency 100.000 ms" in found.evidence
    assert "sum to 117.000 ms" in found.evidence
    assert "busy_above_latency" not in warnings(capture(good(), [recorded()]), [run(busy=0.7)])


def test_the_busy_time_of_one_stage_may_exceed_it_alone() -> None:
    ms = {**STAGES, "prefill": 100.0}
    found = warnings(capture(good(), [recorded()]), [run(ms=ms, busy=0.2)])["busy_above_latency"]
    assert found.stage == "prefill"
    assert "sum to 26.000 ms" in found.evidence


def test_controls_of_another_number_of_tokens_are_counted() -> None:
    made = capture([*good(), control(times(index=3), tokens=2)], [recorded()])
    found = warnings(made, [run()])
    assert set(found) == {"token_count_differs"}
    assert found["token_count_differs"].evidence == "1 control"


def test_controls_by_another_clock_are_counted() -> None:
    by_host = [control(times(index=i, clock="host")) for i in (3, 4)]
    found = warnings(capture([*good(), *by_host], [recorded()]), [run()])
    assert set(found) == {"other_clock"}
    assert found["other_clock"].evidence == "2 controls"


def test_controls_that_lack_a_step_are_counted_and_other_numbers_of_steps_named() -> None:
    gap = replace(times(index=3), segments=tuple(p for p in times().segments if p.step != 1))
    found = warnings(capture([*good(), control(gap)], [recorded()]), [run()])
    assert found["control_step_missing"].evidence == "1 control"
    short = control(times(steps=1, index=3))
    found = warnings(capture([*good(), short], [recorded()]), [run()])
    assert found["control_steps_differ"].evidence == "1 of 1 samples, first a"


def test_totals_that_are_known_too_badly_are_named_with_the_worst() -> None:
    wide = [control(times(factor=f, index=i)) for i, f in enumerate((1, 3, 1.02, 0.98))]
    found = warnings(capture(wide, [recorded()]), [run()])["controls_interval_wide"]
    assert found.evidence.startswith("1 of 1 samples, worst ± ")


def test_controls_of_other_tokens_are_noted() -> None:
    made = capture(good(tokens_sha256="x"), [recorded(tokens_sha256="y")])
    assert set(warnings(made, [run()])) == {"tokens_differ"}
