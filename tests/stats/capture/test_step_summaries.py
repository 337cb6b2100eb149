"""Percentiles of a server's steps by stage and batch size, as counted by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from trace_timing.errors import UsageError
from trace_timing.report.terminal.serving import step_lines
from trace_timing.stats.capture.step_summaries import step_summary


def steps(*rows: tuple[str, int | None, int, int | None]) -> pd.DataFrame:
    """stage, batch size, window and busy in µs."""
    table = pd.DataFrame(rows, columns=["stage", "batch_size", "window_ns", "busy_ns"])
    numbers = ["batch_size", "window_ns", "busy_ns"]
    table[numbers] = table[numbers].astype("Int64")
    table[["window_ns", "busy_ns"]] *= 1000
    table["interval_ns"] = pd.array([None] * len(table), "Int64")
    return table


def test_percentiles_are_of_each_stage_and_batch_size_in_order() -> None:
    # Of 0, 1, … 100 ms the p-th percentile is p ms.
    decode = [("decode", 8, 1000 * n, 500 * n) for n in range(101)]
    table = step_summary(steps(("decode", 16, 7000, None), *decode, ("prefill", 2, 3000, 1000)))
    found = [tuple(row) for row in table.itertuples(index=False)]
    assert found == [
        ("prefill", 2, "window", 1, 3.0, 3.0, 3.0),
        ("prefill", 2, "busy", 1, 1.0, 1.0, 1.0),
        ("decode", 8, "window", 101, 50.0, 90.0, 99.0),
        ("decode", 8, "busy", 101, 25.0, 45.0, 49.5),
        ("decode", 16, "window", 1, 7.0, 7.0, 7.0),
    ]


def test_steps_that_do_not_tell_their_batch_are_a_group_of_their_own() -> None:
    table = step_summary(steps(("mixed", None, 1000, 1000), ("mixed", 4, 3000, 1000)))
    windows = table[table["time"] == "window"]
    assert windows["n"].tolist() == [1, 1]
    assert windows["batch_size"].isna().tolist() == [False, True]


def test_steps_can_be_grouped_by_any_column_and_by_no_other() -> None:
    table = step_summary(steps(("mixed", 2, 1000, 1000), ("mixed", 4, 3000, 1000)), ["stage"])
    assert table[table["time"] == "window"]["p50_ms"].tolist() == [2.0]
    with pytest.raises(UsageError, match="no column batch to group steps by"):
        step_summary(steps(), ["batch"])


def test_no_step_has_no_summary_and_no_line() -> None:
    table = step_summary(steps())
    assert list(table.columns) == ["stage", "batch_size", "time", "n", "p50_ms", "p90_ms", "p99_ms"]
    assert step_lines(table) == []


def test_the_terminal_tells_the_groups_with_most_steps_and_counts_the_others() -> None:
    many = [("decode", size, 1000, 1000) for size in range(1, 8) for _ in range(size)]
    lines = step_lines(step_summary(steps(*many)))
    assert lines[1] == "  Decode, batch 2: 1.00 ms / 1.00 ms / 1.00 ms (2 steps)"
    assert lines[-1] == "  and 1 more in step_summary.csv"
    assert len(lines) == 8
