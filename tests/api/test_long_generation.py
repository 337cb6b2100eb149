"""A long generation of which some steps were recorded, from its capture to the report."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")  # the plan is the recorder's

from tests.api.long_capture import BUSY_US, GROWTH_US, OPS, write_capture
from trace_timing.api.analysis.analyze import analyze
from trace_timing.api.analysis.result import Analysis
from trace_timing.recording.runs.step_plan import plan_steps
from trace_timing.report.findings import findings
from trace_timing.report.html.page import report_html
from trace_timing.report.terminal.statistics import statistics_lines
from trace_timing.report.viewer.tracks import AnnotatedRun, track_events
from trace_timing.timeline.build.runs import lay_out
from trace_timing.trace.files.reading import open_trace

STEPS = 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("long") / "capture"
    plan = plan_steps(STEPS, 32)
    return write_capture(place, [("part", STEPS, plan), ("whole", STEPS, None)])


@pytest.fixture(scope="module")
def analysis(folder: Path) -> Analysis:
    return analyze(folder)


def busy_us(step: int) -> float:
    return BUSY_US + GROWTH_US * step


def test_every_step_has_a_latency_and_the_recorded_ones_have_figures(analysis: Analysis) -> None:
    steps = analysis.steps[analysis.steps["sample_id"] == "part"]
    assert len(steps) == STEPS
    assert steps["latency_ns"].notna().all()
    assert steps["usable"].all()
    assert (steps["kv_length"] == 100 + steps["step"]).all()
    recorded = steps[steps["recorded"]]
    assert len(recorded) == 32
    for row in recorded.to_dict("records"):
        assert row["busy_ns"] == pytest.approx(busy_us(row["step"]) * 1000, abs=OPS)
        assert (row["gpu_ops"], row["launches"]) == (OPS, OPS)


def test_estimates_over_all_steps_are_what_a_whole_recording_measures(analysis: Analysis) -> None:
    samples = analysis.samples.set_index("sample_id")
    part, whole = samples.loc["part"], samples.loc["whole"]
    assert part.isna()[["T_LLM_decode_busy_ms", "T_total_busy_ms", "T_total_recorded_ms"]].all()
    assert whole.isna()[["T_LLM_decode_busy_estimate_ms", "gpu_ops_estimate"]].all()
    for name in ("T_LLM_decode", "T_total"):
        measured = whole[f"{name}_busy_ms"]
        assert part[f"{name}_busy_estimate_ms"] == pytest.approx(measured, rel=1e-4)
    per_token = whole["T_decode_per_token_busy_ms"]
    assert part["T_decode_per_token_busy_ms"] == pytest.approx(per_token, rel=1e-3)
    assert part["gpu_ops_estimate"] == whole["gpu_ops"]
    assert part["T_LLM_decode_ms"] == pytest.approx(whole["T_LLM_decode_ms"], rel=1e-3)


def test_all_checks_hold_and_nothing_is_said_to_be_lost(analysis: Analysis) -> None:
    assert analysis.checks_hold
    assert {w["code"] for w in analysis.summary()["warnings"]} <= {"unknown_kernels"}
    # All of the one run, and of the other what its plan says.
    told = {"recorded": STEPS + 32, "recording_off": 216, "recording_guard": 7}
    assert analysis.summary()["steps"] == told


def test_no_idle_time_is_explained_where_recording_was_off(analysis: Analysis) -> None:
    idle = analysis._frame("idle")
    own = idle[(idle["sample_id"] == "part") & (idle["stage"] == "decode")]["idle_ns"].sum()
    steps = analysis.steps
    recorded = steps[(steps["sample_id"] == "part") & steps["recorded"]]
    assert own == recorded["idle_ns"].sum()


def test_the_report_marks_estimates_and_draws_latency_and_busy(analysis: Analysis) -> None:
    data = analysis.report_data()
    assert any("Of 255 decode steps 32 were recorded" in sentence for sentence in findings(data))
    page = report_html(data)
    assert "≈" in page
    assert "latency shows no growth with the cache" in page


def test_a_host_bound_case_shows_growth_in_busy_time_alone(analysis: Analysis) -> None:
    said = " ".join(statistics_lines(analysis.statistics))
    assert "A decode step's latency shows no growth with the cache" in said
    assert f"its GPU busy time grows by +{GROWTH_US:.2f} µs a position" in said


def test_where_the_latency_grows_it_is_said_to_agree_with_busy_time(tmp_path: Path) -> None:
    plan = plan_steps(STEPS, 32)
    place = write_capture(tmp_path / "c", [("part", STEPS, plan)], growth_us=GROWTH_US)
    growth = analyze(place).growth
    assert growth is not None
    assert growth.interval is not None
    assert 0 < growth.interval.low < GROWTH_US / 1000 < growth.interval.high


def test_an_analysis_takes_as_long_as_its_recorded_steps_and_ranges(tmp_path: Path) -> None:
    sizes = {}
    for steps in (STEPS, 4 * STEPS):
        place = write_capture(tmp_path / str(steps), [("a", steps, plan_steps(steps, 32))])
        (trace,) = (place / "traces").iterdir()
        sizes[steps] = trace.stat().st_size
        assert (analyze(place).steps["recorded"]).sum() == 32
    # Ranges alone are more: some 100 bytes of JSON a step, a tenth of that compressed.
    assert sizes[4 * STEPS] - sizes[STEPS] < 3 * STEPS * 60


def test_an_annotated_copy_says_which_steps_were_not_recorded(tmp_path: Path) -> None:
    place = write_capture(tmp_path / "c", [("a", 60, plan_steps(60, 8))])
    trace = open_trace(next((place / "traces").iterdir()))
    (run,) = lay_out(trace).runs
    drawn = track_events(trace, AnnotatedRun(run=run))
    told = [e for e in drawn if "not_recorded" in e.get("args", {})]
    names = {e["name"] for e in told}
    assert {"decode[30]", "sampling[30]", "decode[56]"} <= names
    assert "decode[1]" not in names
    assert all("busy_ns" not in e["args"] for e in told)
