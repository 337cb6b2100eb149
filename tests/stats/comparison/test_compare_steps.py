"""Forwards of servers compared: which match, what is held against what, and what one side shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trace_timing.errors import UsageError
from trace_timing.stats.comparison.compare import ComparedRow, ComparisonResult
from trace_timing.stats.comparison.compare_steps import NO_TTFT, ONE_RECORDING, compare_steps
from trace_timing.stats.comparison.gates import check_gate, exit_code, parse_gate
from trace_timing.stats.comparison.step_cells import (
    TYPICAL,
    StepTables,
    side_values,
    typical,
    with_cells,
)

NUMBERS = ["batch_size", "context_tokens", "generation_requests", "generation_tokens"]
TIMES = ["window_ns", "busy_ns", "interval_ns"]


def steps(*rows: tuple[str, int | None, int | None, int, int]) -> pd.DataFrame:
    """Stage, batch size, tokens of prompts, window and busy in µs; each follows at once."""
    table = pd.DataFrame(
        [
            {
                "stage": stage,
                "batch_size": batch,
                "context_tokens": tokens,
                "generation_requests": batch if stage == "decode" else 0,
                "generation_tokens": batch if stage == "decode" else 0,
                "window_ns": 1000 * window,
                "busy_ns": 1000 * busy,
                "interval_ns": 1000 * window,
            }
            for stage, batch, tokens, window, busy in rows
        ],
        columns=["stage", *NUMBERS, *TIMES],
    )
    table[[*NUMBERS, *TIMES]] = table[[*NUMBERS, *TIMES]].astype("Int64")
    return table.assign(sample_id="served", repeat=0, rank=0, recorded=True, clock="device")


def recording(*rows: tuple[str, int | None, int | None, int, int], **more: Any) -> StepTables:
    kernels = pd.DataFrame({"stage": ["decode"], "name": [more.pop("kernel", "k")]})
    return StepTables(more.pop("source", "served"), steps(*rows), kernels, **more)


def decodes(batch: int, window: int, count: int = 24) -> list[tuple[str, int, int, int, int]]:
    return [("decode", batch, 0, window, window // 2)] * count


def named(result: ComparisonResult) -> dict[str, ComparedRow]:
    return {row.name: row for row in result.rows}


def test_a_mixture_of_other_batch_sizes_is_no_change() -> None:
    """B serves larger batches more often; each batch size takes as long as ever."""
    a = recording(*decodes(8, 1000, 60), *decodes(32, 2000, 30))
    b = recording(*decodes(8, 1000, 30), *decodes(32, 2000, 60), *decodes(64, 9000, 50))
    result = compare_steps(a, b)
    rows = named(result)
    # Both sides with 30 steps of each: the mean of the logarithms of 1 and 2 ms.
    assert rows["decode"].a_ms == rows["decode"].b_ms == pytest.approx(np.sqrt(2))
    assert rows["busy decode"].ratio == pytest.approx(1)
    assert rows["decode, batch 8"].a_ms == pytest.approx(1)
    assert "decode, batch 64" not in rows
    assert "50 of 140 forwards of B have no partner" in " ".join(result.notes)
    assert result.samples == 90


def test_one_recording_a_side_names_a_change_and_what_it_may_be_instead() -> None:
    result = compare_steps(recording(*decodes(8, 1000)), recording(*decodes(8, 3000)))
    rows = named(result)
    assert rows["decode"].ratio == pytest.approx(3)
    assert rows["undisturbed decode"].verdict == "slower, or drift"
    assert rows["busy decode"].verdict == "slower, or drift"
    assert (rows["decode"].n, rows["decode"].unit) == (1, "recordings")
    assert ONE_RECORDING in result.notes
    assert NO_TTFT in result.notes


def test_several_a_side_show_it() -> None:
    sides = [[recording(*decodes(8, window + i)) for i in range(3)] for window in (1000, 1300)]
    (a, *also_a), (b, *also_b) = sides
    result = compare_steps(a, b, also_a=also_a, also_b=also_b)
    rows = named(result)
    assert rows["undisturbed decode"].verdict == "slower"
    assert rows["undisturbed decode"].n == 3
    assert rows["busy decode"].verdict == "slower"
    assert ONE_RECORDING not in result.notes


def test_a_spread_of_one_s_own_recordings_outweighs_the_prior() -> None:
    """Recordings of a side stray by 15 %: 20 % between the sides is nothing then."""
    a = [recording(*decodes(8, window)) for window in (850, 1000, 1160)]
    b = [recording(*decodes(8, window)) for window in (1020, 1200, 1390)]
    rows = named(compare_steps(a[0], b[0], also_a=a[1:], also_b=b[1:]))
    assert {row.verdict for row in rows.values()} == {"cannot tell"}


def test_prompts_match_by_their_tokens_and_what_still_differs_widens_the_error() -> None:
    a = recording(*([("prefill", 1, 1000, 5000, 4000)] * 8), *([("prefill", 2, 64, 900, 800)] * 8))
    b = recording(*([("prefill", 1, 1020, 5000, 4000)] * 8), *([("prefill", 2, 700, 900, 800)] * 8))
    cells = [with_cells(t.steps) for t in (a, b)]
    found = side_values([cells[0]], [cells[1]], "busy_ns", TYPICAL)
    assert found is not None
    assert found.used == (8, 8)
    assert found.apart == pytest.approx(np.log(1021 / 1001))
    rows = named(compare_steps(a, b))
    assert rows["busy prefill"].a_ms == pytest.approx(4)
    alike = named(compare_steps(a, a))["busy prefill"]
    assert alike.ratio_interval is not None
    assert rows["busy prefill"].ratio_interval is not None
    assert rows["busy prefill"].ratio_interval.high > alike.ratio_interval.high


def test_forwards_that_do_not_tell_their_size_match_nothing() -> None:
    table = steps(
        ("decode", None, None, 10, 5),
        ("prefill", 4, None, 10, 5),
        ("decode", 4, None, 10, 5),
        ("mixed", 4, 9, 10, 5),
    )
    assert with_cells(table)["stage"].tolist() == ["decode", "mixed"]


def test_time_per_token_is_between_forwards_that_a_request_can_be_in() -> None:
    rows = [*decodes(8, 100, 3), *decodes(4, 50, 2), ("prefill", 1, 9, 70, 60), *decodes(4, 50, 2)]
    table = steps(*rows)
    table.loc[6, "generation_tokens"] = 8
    # Of the last of each batch the next is another; the fourth's neighbour gives two a request.
    assert with_cells(table)["token_ns"].isna().tolist() == [
        False,
        False,
        True,
        False,
        True,
        True,
        True,
        True,
    ]


def test_nothing_that_matches_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="no forwards of served and served match"):
        compare_steps(recording(*decodes(8, 1000)), recording(*decodes(16, 1000)))


def test_another_clock_withholds_and_another_version_is_listed() -> None:
    a, b = recording(*decodes(8, 1000)), recording(*decodes(8, 3000), environment={"cuda": 13})
    b = StepTables(b.source, b.steps.assign(clock="host"), b.kernels, b.environment)
    result = compare_steps(a, b)
    assert {row.verdict for row in result.rows} == {"withheld"}
    assert [d.name for d in result.differences] == ["clock", "environment.cuda"]


def test_kernels_of_one_side_alone_are_named() -> None:
    result = compare_steps(
        recording(*decodes(8, 1000), kernel="old"), recording(*decodes(8, 1000), kernel="new")
    )
    assert (result.only_a, result.only_b) == (("decode: old",), ("decode: new",))


@pytest.mark.parametrize(("bound", "code"), [("decode > 500%", 0), ("busy decode > 5%", 4)])
def test_a_bound_that_drift_may_have_broken_is_withheld(bound: str, code: int) -> None:
    result = compare_steps(recording(*decodes(8, 1000)), recording(*decodes(8, 3000)))
    outcome = check_gate(parse_gate(bound), result)
    assert outcome.is_withheld == (code == 4)
    assert exit_code([outcome]) == code


@pytest.mark.parametrize("basis", ["busy", "recorded"])
def test_one_kind_of_time_can_be_compared_alone(basis: Any) -> None:
    rows = named(compare_steps(recording(*decodes(8, 10)), recording(*decodes(8, 10)), basis=basis))
    assert all(name.startswith("busy") == (basis == "busy") for name in rows)


def test_the_middle_is_that_of_the_middle_half() -> None:
    assert typical(np.array([0.0, 1, 3, 90]))[0] == 2
