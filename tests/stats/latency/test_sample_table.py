"""The sample table: where each latency comes from, whether it may be used, and its sums."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stats.evidence import STAGES, capture, control, recorded, run, times, total_alone
from trace_timing import schema
from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import RunRecord
from trace_timing.stages import Stage
from trace_timing.stats.latency.evidence import Capture, RecordedRun
from trace_timing.stats.latency.sample_table import identity, sample_row, samples_of

SOURCES = ("control", "scaled", "attached", "recorded")


def rows(made: Capture | None, runs: list[RecordedRun]) -> dict[str, dict[str, Any]]:
    """Rows by sample, checked against the schema."""
    found = [sample_row(sample) for sample in samples_of(made, runs)]
    schema.check(schema.SAMPLES.of_rows(found), schema.SAMPLES)
    return {row["sample_id"]: row for row in found}


def controls(sample_id: str, *factors: float, **more: Any) -> list[RunRecord]:
    return [
        control(times(factor=factor, index=i, **more), sample_id)
        for i, factor in enumerate(factors)
    ]


def test_a_samples_own_controls_come_first() -> None:
    row = rows(capture(controls("a", 0.99, 1, 1.01), [recorded()]), [run()])["a"]
    assert (row["latency_source"], row["interval_from"], row["controls"]) == (
        "control", "controls", 3,
    )  # fmt: skip
    assert row["T_total_ms"] == pytest.approx(100)
    assert row["T_total_recorded_ms"] == pytest.approx(130)
    assert row["T_total_busy_ms"] == pytest.approx(26)
    assert (row["usable"], row["usable_decode"], row["reasons"]) == (True, True, "")


def test_a_sample_without_controls_takes_its_windows_by_the_others_ratio() -> None:
    made = [c for i in range(5) for c in controls(f"s{i}", 1, 1.01)]
    records = [recorded(f"s{i}") for i in range(6)]
    runs = [run(f"s{i}", factor=1.3 + i / 100) for i in range(6)]
    row = rows(capture(made, records), runs)["s5"]
    assert (row["latency_source"], row["interval_from"]) == ("scaled", "leave one out")
    assert row["T_total_ms"] == pytest.approx(135 * 1.005 / 1.32, rel=1e-6)
    assert row["T_total_lo_ms"] < row["T_total_ms"] < row["T_total_hi_ms"]
    assert (row["usable"], row["controls"]) == (True, 0)


@pytest.mark.parametrize(("other", "usable"), [(1.05, True), (3.0, False)])
def test_a_total_that_its_controls_hardly_tell_is_no_label(other: float, usable: bool) -> None:
    row = rows(capture(controls("a", 1, other, 1.02, 0.98), [recorded()]), [run()])["a"]
    assert row["latency_source"] == "control"
    assert (row["half_width_frac"] <= 0.5) == usable
    assert (row["usable"], row["usable_decode"]) == (usable, usable)
    assert row["reasons"] == ("" if usable else "controls_interval_wide")


def test_attached_controls_are_given_raw_and_not_usable() -> None:
    row = rows(capture(controls("a", 1, 1, 1, cupti="attached"), [recorded()]), [run()])["a"]
    assert (row["latency_source"], row["usable"]) == ("attached", False)
    assert (row["T_total_ms"], row["reasons"]) == (pytest.approx(100), "controls_attached")


def test_windows_alone_are_neither_usable_nor_without_a_reason() -> None:
    row = rows(None, [run()])["a"]
    assert (row["latency_source"], row["interval_from"]) == ("recorded", "busy to recorded")
    assert (row["usable"], row["reasons"]) == (False, "no_control")
    assert row["T_total_ms"] == row["T_total_recorded_ms"] == row["T_total_hi_ms"]
    assert row["T_total_lo_ms"] == row["T_total_busy_ms"]


def test_scaled_windows_are_preferred_to_attached_controls_where_they_are_sure() -> None:
    made = [c for i in range(5) for c in controls(f"s{i}", 1, 1)]
    made += controls("late", 1.2, 1.2, cupti="attached")
    ids = [*(f"s{i}" for i in range(5)), "late"]
    sure = rows(capture(made, [recorded(i) for i in ids]), [run(i) for i in ids])
    assert sure["late"]["latency_source"] == "scaled"
    assert sure["late"]["T_total_ms"] == pytest.approx(100)
    wild = [run(i, factor=1 + k) for k, i in enumerate(ids)]
    assert rows(capture(made, [recorded(i) for i in ids]), wild)["late"]["latency_source"] == (
        "attached"
    )


def test_a_model_over_several_devices_has_its_windows_scaled_to_the_total() -> None:
    totals = [control(total_alone(ms, index=i)) for i, ms in enumerate((99, 100, 101))]
    row = rows(capture(totals, [recorded()]), [run()])["a"]
    assert (row["latency_source"], row["controls"]) == ("scaled", 3)
    assert (row["usable"], row["reasons"]) == (True, "scaled_by_total")
    assert row["T_total_ms"] == pytest.approx(100)
    assert row["T_LLM_decode_ms"] == pytest.approx(60)
    attached = [replace(c, control=replace(c.control, cupti="attached")) for c in totals]  # type: ignore[type-var]
    row = rows(capture(attached, [recorded()]), [run()])["a"]
    assert (row["latency_source"], row["usable"]) == ("attached", False)
    assert row["T_LLM_decode_ms"] == pytest.approx(60)


def test_a_total_alone_without_a_recorded_run_has_no_stages() -> None:
    row = rows(capture([control(total_alone(100))]), [])["a"]
    assert (row["latency_source"], row["T_total_ms"]) == ("control", 100)
    assert (row["T_LLM_prefill_ms"], row["T_rest_ms"]) == (None, None)
    assert (row["usable_decode"], row["reasons"]) == (False, "no_stage_times")


def test_a_sample_need_not_be_recorded() -> None:
    row = rows(capture(controls("a", 1, 1, 1)), [])["a"]
    assert (row["latency_source"], row["usable"], row["usable_decode"]) == ("control", True, True)
    assert (row["recorded_runs"], row["decode_steps"]) == (0, 2)
    assert row["T_total_busy_ms"] is row["T_total_recorded_ms"] is row["gpu_ops"] is None
    assert (row["input_tokens"], row["output_tokens"], row["clock"]) == (100, 3, "device")


def test_a_sample_of_one_token_has_no_decode_and_says_so() -> None:
    short = {s: ms for s, ms in STAGES.items() if s != "decode"}
    made = [control(times(short, steps=0), tokens=1)] * 3
    row = rows(capture(made, [recorded(tokens=1)]), [run(ms=short, steps=0)])["a"]
    assert (row["usable"], row["usable_decode"]) == (True, False)
    assert (row["T_LLM_decode_ms"], row["T_decode_per_token_ms"]) == (None, None)
    assert (row["decode_steps"], row["reasons"]) == (0, "no_decode_step")


def test_a_fault_of_the_recording_is_named_and_spoils_what_was_made_from_it() -> None:
    spoilt = run(faults=("lost_ops",))
    measured = rows(capture(controls("a", 1, 1, 1), [recorded()]), [spoilt])["a"]
    assert (measured["usable"], measured["reasons"]) == (True, "lost_ops")
    made = [c for i in range(5) for c in controls(f"s{i}", 1, 1)]
    ids = [*(f"s{i}" for i in range(5)), "a"]
    runs = [*(run(i) for i in ids[:-1]), spoilt]
    scaled = rows(capture(made, [recorded(i) for i in ids]), runs)["a"]
    assert (scaled["latency_source"], scaled["usable"]) == ("scaled", False)


def test_a_trace_that_could_not_be_read_leaves_the_controls() -> None:
    row = rows(capture(controls("a", 1, 1, 1), [recorded()]), [])["a"]
    assert (row["latency_source"], row["usable"]) == ("control", True)
    lost = rows(capture([], [recorded()]), [])["a"]
    assert (lost["T_total_ms"], lost["usable"], lost["reasons"]) == (None, False, "no_usable_run")


def test_calls_that_cannot_be_repeated_are_scaled_by_their_neighbours() -> None:
    """Each call is either a control or recorded; the factor is from those made next to it."""
    made = [control(times(factor=1.0), f"c{i}", ordinal=2 * i) for i in range(6)]
    records = [recorded(f"r{i}", ordinal=2 * i + 1) for i in range(6)]
    found = rows(capture(made, records), [run(f"r{i}") for i in range(6)])
    assert {found[f"r{i}"]["latency_source"] for i in range(6)} == {"scaled"}
    assert found["r0"]["T_total_ms"] == pytest.approx(100, rel=1e-6)
    # Another process counts its calls anew: it has no neighbour here.
    far = [replace(record, rank=1) for record in records]
    alone = rows(capture(made, far), [run(f"r{i}", rank=1) for i in range(6)])
    assert alone["r0"]["latency_source"] == "recorded"


stage_ms = st.dictionaries(st.sampled_from(list(STAGES)), st.floats(0.001, 1e4), min_size=1).map(
    lambda ms: {"prefill": 1.0, **ms}
)
factor = st.floats(0.5, 2)


@given(stage_ms, st.lists(factor, min_size=1, max_size=7), factor, st.sampled_from(SOURCES))
def test_the_parts_partition_the_total_whatever_the_source(
    ms: dict[Stage, float], factors: list[float], stretched: float, source: str
) -> None:
    state: Any = "attached" if source == "attached" else "never"
    mine = [control(times(ms, factor=f, index=i, cupti=state)) for i, f in enumerate(factors)]
    others = [
        *(control(total_alone(50 * f, index=i), "totals") for i, f in enumerate(factors)),
        *(c for i in range(3) for c in controls(f"s{i}", 1, 1.01)),
    ]
    made = {"control": mine, "attached": mine, "scaled": [], "recorded": []}[source]
    made = made + (others if source == "scaled" else [])
    ids = ["a", "totals", "s0", "s1", "s2"]
    runs = [run("a", ms, factor=stretched), *(run(i) for i in ids[1:])]
    found = rows(capture(made, [recorded(i) for i in ids]), runs)
    assert found["a"]["latency_source"] == source
    for row in found.values():
        for kind in ("", "_busy", "_recorded"):
            parts = sum(row[f"{part}{kind}_ms"] or 0 for part in schema.SAMPLE_PARTS)
            assert parts == pytest.approx(row[f"T_total{kind}_ms"], rel=1e-9)


def test_what_it_ran_on_stands_in_every_row() -> None:
    manifest = Manifest(
        settings={"model": "m", "dtype": "bfloat16"},
        model={"attention": "sdpa", "name": "other"},
        environment={"packages": {"torch": "2.11"}, "cuda": "13.0", "devices": [{"name": "H200"}]},
    )
    columns = identity(manifest)
    assert (columns["model"], columns["attention"], columns["device"]) == ("m", "sdpa", "H200")
    assert (columns["torch"], columns["cuda"], columns["transformers"]) == ("2.11", "13.0", None)
    assert identity(Manifest())["device"] == "CPU"
    assert set(identity(None).values()) == {None}


def test_metadata_follows_and_never_replaces_a_column() -> None:
    record = recorded(metadata={"crops": 4, "model": "mine", "T_total_ms": 1})
    row = rows(capture(controls("a", 1), [record]), [run()])["a"]
    assert (row["crops"], row["meta_model"], row["model"]) == (4, "mine", None)
    assert (row["T_total_ms"], row["meta_T_total_ms"]) == (pytest.approx(100), 1)
