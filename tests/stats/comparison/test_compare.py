"""Verdicts: how often they are wrong, how often they find what is there, when they hold back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.stats.compared_tables import tables
from trace_timing.errors import UsageError
from trace_timing.schema import ESTIMATED_TIMES
from trace_timing.stats.comparison.compare import (
    ComparedRow,
    captures_needed,
    compare,
    judge_figures,
    pairs_needed,
)
from trace_timing.stats.comparison.figures import Basis, Figure, Level, Tables
from trace_timing.stats.comparison.gates import check_gate, parse_gate
from trace_timing.stats.comparison.machine_state import state_rows

NAMES: list[tuple[Level, str]] = [
    ("total", "total"),
    *(("stage", name) for name in ("vision", "prefill", "decode")),
    *(("minor stage", name) for name in ("vision_encoder", "projector", "sampling", "rest")),
    *(("kind", f"kind {i}") for i in range(5)),
    *(("kernel", f"kernel {i}") for i in range(10)),
]


def figures(rng: np.random.Generator, n: int, spread: float, decode: float = 0.0) -> list[Figure]:
    """Independent figures of n pairs; each pair's log ratio has `spread`, decode is shifted."""
    size = (len(NAMES), n)
    base = np.exp(rng.normal(3, 0.5, size))
    ratio = np.exp(rng.normal(0, spread, size))
    ratio[3] *= 1 + decode
    return [
        Figure(level, name, (pd.Series(base[i]),), (pd.Series(base[i] * ratio[i]),))
        for i, (level, name) in enumerate(NAMES)
    ]


def alarms(rows: tuple[ComparedRow, ...]) -> list[str]:
    return [row.name for row in rows if row.verdict in ("faster", "slower")]


@pytest.mark.slow
@pytest.mark.parametrize("n", [16, 24])
def test_self_comparisons_raise_an_alarm_in_at_most_5_percent(n: int) -> None:
    """Repeats of one heavy-tailed population dealt to A and B at random, 1,000 times.

    With few pairs (Student's t) and with many (ranks).
    """
    rng = np.random.default_rng(11)
    noise = rng.standard_t(2, (len(NAMES), n, 40)) * 0.04
    population = np.exp(rng.normal(3, 0.5, (len(NAMES), n, 1)) + noise)
    raised = 0
    for _ in range(1_000):
        drawn = rng.integers(0, 40, (2, len(NAMES), n))
        dealt = [np.take_along_axis(population, side[..., None], 2)[..., 0] for side in drawn]
        pairs = [
            Figure(level, name, (pd.Series(dealt[0][i]),), (pd.Series(dealt[1][i]),))
            for i, (level, name) in enumerate(NAMES)
        ]
        raised += bool(alarms(judge_figures(pairs)))
    assert raised <= 50


@pytest.mark.slow
def test_finds_a_planted_3_percent_among_30_pairs_in_80_percent_of_500_trials() -> None:
    rng = np.random.default_rng(12)
    found = sum(
        "decode" in alarms(judge_figures(figures(rng, 30, 0.04, decode=0.03))) for _ in range(500)
    )
    assert found >= 400


def test_says_how_many_pairs_would_tell() -> None:
    rng = np.random.default_rng(13)
    rows = {row.name: row for row in judge_figures(figures(rng, 30, 0.30))}
    assert (rows["decode"].verdict, rows["decode"].unit) == ("cannot tell", "pairs")
    # (z(0.004) + z(0.8))² · (0.3 ÷ ln 1.03)² ÷ 0.955, by hand about 1,500.
    assert rows["decode"].needed == pytest.approx(1_500, rel=0.5)
    assert pairs_needed(0.04, 0.008) == pytest.approx(23, abs=1)
    # Twice as many without the price of ranks: (2.65 + 0.84)² · 2 · (0.02 ÷ ln 1.1)².
    assert captures_needed(0.02, 0.008, 0.1) == 2
    assert captures_needed(0.07, 0.008, 0.1) == 14


def test_a_tight_equality_is_no_difference_shown() -> None:
    rows = judge_figures(figures(np.random.default_rng(14), 30, 0.005))
    assert {row.verdict for row in rows} == {"no difference shown"}
    assert all(row.needed is None for row in rows)


def verdicts(a: Tables, b: Tables) -> dict[str, str]:
    return {row.name: row.verdict for row in compare(a, b).rows}


def test_one_capture_a_side_finds_the_device_work_that_changed_and_no_other() -> None:
    judged = verdicts(tables(1), tables(2, decode=1.1))
    assert judged.pop("busy decode") == judged.pop("decode: gemm") == "slower"
    assert judged.pop("decode: ampere_sgemm_32x32") == "slower"
    assert not {"slower", "faster"} & set(judged.values())


def test_a_row_has_the_medians_of_both_sides_and_their_difference() -> None:
    sides = tables(1), tables(2, decode=1.5)
    rows = {row.name: row for row in compare(*sides).rows}
    for row in rows.values():
        assert row.difference_ms == pytest.approx(row.b_ms - row.a_ms)
    decode = rows["decode"]
    by_hand = [
        (s.samples["T_LLM_decode_ms"] / 10).groupby(s.samples["sample_id"]).median().median()
        for s in sides
    ]
    assert [decode.a_ms, decode.b_ms] == pytest.approx(by_hand)
    assert decode.difference_ms == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize(
    ("state_known", "spreads"),
    [(False, {"undisturbed step": 0.15, "decode": 0.20, "busy decode": None}),
     (True, {"undisturbed step": 0.02, "decode": 0.07, "busy decode": None})],
)  # fmt: skip
def test_one_capture_is_taken_to_stray_as_recorded_series_did(
    state_known: bool, spreads: dict[str, float | None]
) -> None:
    """As the comment of figures.HOST_DRIFT has it; less where the cost of a launch is known."""
    sides = [tables(1), tables(2)]
    if not state_known:
        sides = [replace(side, state=state_rows(())) for side in sides]
    rows = {row.name: row for row in compare(sides[0], sides[1]).rows}
    for name, spread in spreads.items():
        if spread is None:  # the device's: its samples are the witnesses
            assert rows[name].unit == "pairs"
        else:
            assert rows[name].spread_frac == pytest.approx(spread, rel=0.1)
            assert rows[name].unit == "captures"


def test_three_captures_a_side_find_a_step_10_percent_slower() -> None:
    a, b = ([tables(s) for s in (1, 2, 3)], [tables(s, decode=1.1) for s in (4, 5, 6)])
    result = compare(a[0], b[0], also_a=a[1:], also_b=b[1:])
    step = next(row for row in result.rows if row.name == "undisturbed step")
    assert (step.verdict, step.n, step.unit) == ("slower", 3, "captures")
    assert step.ratio == pytest.approx(1.1, abs=0.01)
    assert result.captures == (3, 3)


def test_a_host_slower_by_half_in_one_capture_is_no_slower_decode() -> None:
    """As a busier host was: every latency longer, and what a launch costs with them."""
    result = compare(tables(1), tables(2, host=1.5, launches=1.5))
    assert not {"slower", "faster"} & {row.verdict for row in result.rows}
    withheld = {row.name for row in result.rows if row.verdict == "withheld"}
    assert {"total", "decode", "undisturbed step"} <= withheld
    assert "busy decode" not in withheld
    (difference,) = result.differences
    assert (difference.name, difference.bearing) == ("ns a launch", "withholds host times")


def test_31_times_slower_latencies_of_a_busy_host_are_withheld() -> None:
    result = compare(tables(1), tables(2, host=31, pressure=60.0))
    decode = next(row for row in result.rows if row.name == "decode")
    assert decode.verdict == "withheld"
    assert decode.reason.startswith("psi_cpu_some_10s differs: 2.0 and 60.0")


def test_ratios_are_at_equal_launch_cost_where_the_host_bounds_the_figure() -> None:
    result = compare(tables(1), tables(2, host=1.1, launches=1.1))
    rows = {row.name: row for row in result.rows}
    assert rows["decode"].b_ms / rows["decode"].a_ms == pytest.approx(1.1, abs=0.01)
    assert rows["decode"].launch_ratio == pytest.approx(1.1, abs=0.01)
    assert rows["decode"].ratio == pytest.approx(1, abs=0.01)
    assert rows["busy decode"].launch_ratio is None


def test_what_the_device_bounds_is_not_divided_by_launches() -> None:
    sides = [tables(1), tables(2, launches=1.1)]
    for side in sides:
        for column in ("T_LLM_decode", "T_total"):
            side.samples[f"{column}_busy_ms"] = 0.95 * side.samples[f"{column}_ms"]
    rows = {row.name: row for row in compare(*sides).rows}
    assert rows["decode"].launch_ratio is rows["undisturbed step"].launch_ratio is None
    assert rows["prefill"].launch_ratio is not None


def test_recorded_windows_are_not_divided_by_launches() -> None:
    sides = [tables(i, launches=1.1 if i == 2 else 1, latency_source="recorded") for i in (1, 2)]
    assert all(row.launch_ratio is None for row in compare(*sides).rows)


def test_launches_are_no_common_measure_of_two_versions_of_torch() -> None:
    a = replace(tables(1), environment={"torch": "2.11"})
    b = replace(tables(2, host=1.4, launches=1.4), environment={"torch": "2.13"})
    result = compare(a, b)
    assert [d.name for d in result.differences] == ["environment.torch"]
    assert all(row.launch_ratio is None for row in result.rows)


def test_controls_of_one_side_and_recorded_windows_of_the_other_are_not_compared() -> None:
    judged = verdicts(tables(1), tables(2, latency_source="recorded"))
    assert judged["decode"] == judged["undisturbed step"] == "withheld"
    assert judged["busy decode"] != "withheld"


def test_faster_is_the_mirror_of_slower() -> None:
    assert verdicts(tables(2, decode=1.1), tables(1))["busy decode"] == "faster"


def test_decode_is_per_step_so_outputs_of_other_length_compare() -> None:
    longer = tables(2, decode=2.0, decode_steps=20)
    result = compare(tables(1), longer)
    decode = next(row for row in result.rows if row.name == "decode")
    assert decode.ratio == pytest.approx(1, abs=0.02)
    total = next(row for row in result.rows if row.name == "total")
    assert (total.verdict, total.n) == ("cannot tell", 0)


def test_another_clock_withholds_every_verdict() -> None:
    judged = verdicts(tables(1), tables(2, clock="host"))
    assert set(judged.values()) == {"withheld"}


def test_another_profile_mode_withholds_recorded_host_times_alone() -> None:
    a, b = (replace(tables(i), settings={"profile": p}) for i, p in ((1, "ranges"), (2, "full")))
    recorded = {row.name: row.verdict for row in compare(a, b, basis="recorded").rows}
    assert recorded["decode"] == recorded["total"] == "withheld"
    assert recorded["decode: gemm"] != "withheld"
    assert verdicts(a, b)["decode"] != "withheld"


def test_what_differs_is_listed() -> None:
    a = replace(tables(1), environment={"packages": {"torch": "2.11"}, "driver": "1"})
    b = replace(tables(2), environment={"packages": {"torch": "2.13"}, "driver": "1"})
    (difference,) = compare(a, b).differences
    assert (difference.name, difference.a, difference.b, difference.bearing) == (
        "environment.packages.torch",
        "2.11",
        "2.13",
        "listed",
    )


def test_samples_without_a_partner_are_counted() -> None:
    notes = compare(tables(1, n=24), tables(2, n=20)).notes
    assert notes == ("4 samples of A have no partner and are left out",)


def test_one_id_for_two_inputs_is_left_out() -> None:
    result = compare(tables(1), tables(2, input_tokens=601))
    assert not result.paired
    assert "inputs of different length" in result.notes[0]


def test_without_matching_ids_runs_are_compared_as_groups() -> None:
    b = tables(2, decode=1.5)
    b = replace(b, samples=b.samples.assign(sample_id="x" + b.samples["sample_id"]))
    result = compare(tables(1), b)
    assert not result.paired
    assert {r.name: r.verdict for r in result.rows}["busy decode"] == "slower"


def test_repeats_of_other_inputs_are_no_further_witnesses() -> None:
    b = tables(2, n=6)
    b = replace(b, samples=b.samples.assign(sample_id="x" + b.samples["sample_id"]))
    assert {row.n for row in compare(tables(1, n=6), b, basis="busy").rows} == {6}


def test_repeats_of_the_same_few_inputs_are_compared_as_they_are() -> None:
    rows = {r.name: r for r in compare(tables(1, n=3), tables(2, n=3)).rows}
    assert rows["busy decode"].n == 6


def test_totals_of_other_lengths_are_no_group() -> None:
    b = tables(2, decode_steps=20)
    b = replace(b, samples=b.samples.assign(sample_id="x" + b.samples["sample_id"]))
    total = next(row for row in compare(tables(1), b).rows if row.name == "total")
    assert (total.verdict, total.n) == ("cannot tell", 0)


@pytest.mark.parametrize(
    ("bound", "fails"),
    [("busy decode > 5%", True), ("busy decode > 20%", False), ("prefill>5%", False)],
)
def test_a_gate_fails_on_a_shown_change_beyond_its_bound(bound: str, fails: bool) -> None:
    result = compare(tables(1), tables(2, decode=1.1))
    assert check_gate(parse_gate(bound), result).fails is fails


def test_a_withheld_verdict_fails_its_gate() -> None:
    result = compare(tables(1), tables(2, clock="host"))
    outcome = check_gate(parse_gate("decode > 5%"), result)
    assert outcome.fails
    assert outcome.unsure


def test_a_gate_that_means_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse_gate("decode slower than 5")
    with pytest.raises(UsageError, match="no row 'decoding'"):
        check_gate(parse_gate("decoding > 5%"), compare(tables(1), tables(2)))


def recorded_in_part(side: Tables) -> Tables:
    """The side as of four recorded steps of ten: kernels of those, sums of busy time estimated."""
    samples, kernels = recorded_whole(side).samples, side.kernels.copy()
    for name in ESTIMATED_TIMES:
        samples[f"{name}_busy_estimate_ms"] = samples[f"{name}_busy_ms"]
        samples[f"{name}_busy_ms"] = float("nan")
    kernels["total_ns"] = (kernels["total_ns"] * 0.4).astype(int)
    return replace(side, samples=samples.assign(recorded_steps=4), kernels=kernels)


def recorded_whole(side: Tables) -> Tables:
    """The side with the busy time of a step, and no estimate."""
    samples = side.samples.copy()
    samples["T_decode_per_token_busy_ms"] = samples["T_LLM_decode_busy_ms"] / 10
    estimates = {f"{name}_busy_estimate_ms": float("nan") for name in ESTIMATED_TIMES}
    return replace(side, samples=samples.assign(**estimates))


@pytest.mark.parametrize("basis", ["latency", "busy"])
def test_recorded_steps_compare_with_runs_recorded_whole(basis: Basis) -> None:
    result = compare(recorded_whole(tables(1)), recorded_in_part(tables(2)), basis=basis)
    by_name = {(row.level, row.name): row for row in result.rows}
    busy = {"latency": [("busy", "busy total"), ("busy", "busy decode")]}
    judged = busy.get(basis, [("total", "total"), ("minor stage", "sampling")])
    for key in (*judged, ("stage", "decode"), ("kernel", "decode: ampere_sgemm_32x32")):
        assert by_name[key].ratio == pytest.approx(1, abs=0.05), key
    (told,) = [note for note in result.notes if "recorded" in note]
    assert told.startswith("of 48 samples not every step was recorded")
