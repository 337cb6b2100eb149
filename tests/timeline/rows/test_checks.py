"""Each of the five checks holds on sound rows, and is broken by one wrong figure in them."""

from __future__ import annotations

from typing import Any, get_args

import pyarrow as pa
import pytest

from tests.timeline.building import TraceBuilder
from tests.timeline.switched import Rows, six_steps
from trace_timing.records.findings import CheckName, CheckResult
from trace_timing.stats.trace.warnings import check_warnings

NEVER_NEGATIVE = (
    "window_ns",
    "busy_ns",
    "idle_ns",
    "queued_ns",
    "kernel_sum_ns",
    "span_ns",
    "sync_wait_ns",
    "alloc_ns",
    "host_ns",
)


def two_devices() -> Rows:
    """Prefill on device 0, a decode step on device 1, and an op whose launch is missing."""
    built = TraceBuilder().range("generate", 0, 100).range("prefill", 0, 50)
    built.range("decode[1]", 50, 100)
    built.op(10, 30, launch=5).op(60, 80, launch=55, device=1).op(85, 90)
    return Rows(built.trace())


def with_figure(table: pa.Table, column: str, row: int, figure: Any) -> pa.Table:
    """The table with one cell replaced."""
    values = table[column].to_pylist()
    values[row] = figure
    place = table.schema.get_field_index(column)
    return table.set_column(
        place, table.schema.field(place), pa.array(values, table.schema.field(place).type)
    )


def plus_one(table: pa.Table, column: str, row: int = 0) -> pa.Table:
    """The table with one cell a nanosecond, or one op, too large."""
    return with_figure(table, column, row, table[column][row].as_py() + 1)


def broken(rows: Rows) -> list[CheckResult]:
    return [check for check in rows.checks if not check.holds]


def names(checks: list[CheckResult]) -> set[str]:
    return {check.check for check in checks}


def row_of(table: pa.Table, stage: str) -> int:
    return int(table["stage"].to_pylist().index(stage))


def test_sound_rows_pass_every_check_with_both_sides_of_each_sum() -> None:
    rows = two_devices()
    assert {check.check for check in rows.checks} == set(get_args(CheckName))
    assert broken(rows) == []
    assert {c.detail for c in rows.checks if c.check.endswith("s_sum")} == {
        "sum of rows = window",
        "sum of rows = window of device 0",
        "sum of rows = window of device 1",
        "sum of rows = kernel sum",
    }
    sides = [(c.check, c.left_ns, c.right_ns) for c in rows.checks if c.left_ns is not None]
    assert sides == [
        ("windows_sum", 100, 100),  # of both devices together
        ("windows_sum", 100, 100),  # of device 0
        ("windows_sum", 100, 100),  # of device 1
        ("busy_and_idle", 100, 100),
        ("busy_and_idle", 200, 200),
        ("kernels_sum", 45, 45),
    ]


def test_a_window_too_long_by_one_nanosecond_breaks_the_sum_of_windows() -> None:
    rows = two_devices()
    # As idle time, so that the row agrees with itself.
    rows.stage_table = plus_one(plus_one(rows.stage_table, "window_ns"), "idle_ns")
    (check,) = broken(rows)
    assert (check.check, check.left_ns, check.right_ns) == ("windows_sum", 101, 100)
    assert check.detail == "window missed by 1 ns"


@pytest.mark.parametrize("device", [0, 1])
def test_so_does_one_of_a_single_device(device: int) -> None:
    rows = two_devices()
    row = rows.device_table["device"].to_pylist().index(device)
    table = plus_one(plus_one(rows.device_table, "window_ns", row), "idle_ns", row)
    rows.device_table = table
    (check,) = broken(rows)
    assert (check.check, check.left_ns) == ("windows_sum", 101)
    assert check.detail == f"window of device {device} missed by 1 ns"


@pytest.mark.parametrize("table", ["stage_table", "device_table"])
def test_a_row_whose_busy_and_idle_time_is_no_window_is_counted(table: str) -> None:
    rows = two_devices()
    sound = getattr(rows, table)
    setattr(rows, table, plus_one(sound, "busy_ns", 1))
    (check,) = broken(rows)
    assert check.check == "busy_and_idle"
    count, name = len(sound), table.replace("_table", "s").replace("devices", "device_stages")
    assert check.detail == f"busy + idle = window in {count - 1} of {count} rows of {name}"


def test_two_rows_that_err_to_either_side_do_not_make_up_for_each_other() -> None:
    rows = two_devices()
    table = plus_one(rows.stage_table, "busy_ns", 0)
    rows.stage_table = with_figure(table, "busy_ns", 1, table["busy_ns"][1].as_py() - 1)
    assert names(broken(rows)) == {"busy_and_idle"}


def test_recorded_steps_are_checked_where_a_part_of_a_stage_was_not_recorded() -> None:
    built = six_steps()
    for step in (1, 5, 6):
        built.op(10 + 100 * step + 20, 10 + 100 * step + 60, launch=10 + 100 * step + 5)
    rows = Rows(built.trace())
    assert rows.run.unrecorded
    assert broken(rows) == []
    rows.step_table = plus_one(rows.step_table, "busy_ns", 0)
    (check,) = broken(rows)
    assert check.check == "busy_and_idle"
    assert check.detail == "busy + idle = window in 1 of 2 rows of steps"


def test_time_of_an_op_that_no_row_has_breaks_the_sum_of_kernels() -> None:
    rows = two_devices()
    rows.stage_table = plus_one(rows.stage_table, "kernel_sum_ns")
    (check,) = broken(rows)
    assert (check.check, check.left_ns, check.right_ns) == ("kernels_sum", 46, 45)


def test_an_unattributed_op_without_a_row_breaks_what_the_ops_sum_to() -> None:
    rows = two_devices()
    lost = row_of(rows.stage_table, "unattributed")
    table = with_figure(rows.stage_table, "kernel_sum_ns", lost, 0)
    rows.stage_table = with_figure(table, "gpu_ops", lost, 0)
    assert names(broken(rows)) == {"kernels_sum", "every_op_placed"}


def test_an_op_in_no_stage_or_in_two_is_noticed() -> None:
    for more in (-1, 1):
        rows = two_devices()
        figure = rows.stage_table["gpu_ops"][0].as_py() + more
        rows.stage_table = with_figure(rows.stage_table, "gpu_ops", 0, figure)
        (check,) = broken(rows)
        assert check.check == "every_op_placed"
        assert check.detail.startswith(f"{3 + more} of 3 GPU ops")


def test_an_unattributed_op_without_a_reason_is_not_placed() -> None:
    rows = two_devices()
    lost = row_of(rows.stage_table, "unattributed")
    assert rows.stage_table["reason"][lost].as_py() == "launch_missing"
    rows.stage_table = with_figure(rows.stage_table, "reason", lost, None)
    assert names(broken(rows)) == {"every_op_placed"}


@pytest.mark.parametrize("column", NEVER_NEGATIVE)
def test_a_negative_figure_is_named_with_its_stage(column: str) -> None:
    rows = two_devices()
    rows.stage_table = with_figure(rows.stage_table, column, 1, -1)
    stage = rows.stage_table["stage"][1].as_py()
    (check,) = [c for c in broken(rows) if c.check == "nothing_negative"]
    assert check.detail == f"{stage}.{column} = -1"


def test_zero_is_not_negative() -> None:
    rows = two_devices()
    rows.stage_table = with_figure(rows.stage_table, "sync_wait_ns", 0, 0)
    assert broken(rows) == []


def test_a_broken_check_is_a_warning_and_one_that_holds_is_none() -> None:
    rows = two_devices()
    assert list(check_warnings(rows.checks)) == []
    rows.stage_table = plus_one(rows.stage_table, "kernel_sum_ns")
    (warning,) = check_warnings(rows.checks)
    assert (warning.code, warning.evidence) == ("check_broken", "kernel sum missed by 1 ns")
    assert "kernels_sum" in warning.message
