"""The table `runs`: a row a control, and whether its sample's latency is a mean over it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.stats.evidence import capture, control, recorded, run, times, total_alone
from trace_timing import schema
from trace_timing.records.runs import RunRecord
from trace_timing.stats.latency.run_table import control_rows
from trace_timing.stats.latency.sample_table import samples_of


def rows(controls: list[RunRecord], **settings: Any) -> list[dict[str, Any]]:
    made = list(control_rows(samples_of(capture(controls, [recorded()], **settings), [run()])))
    schema.check(schema.RUNS.of_rows(made), schema.RUNS)
    return made


def test_every_successful_control_has_its_times_and_its_number() -> None:
    failed = replace(control(times(index=1)), status="failed", control=None)
    found = rows([control(times()), failed, control(times(factor=2, index=2))])
    assert [(r["role"], r["index"], r["T_total_ms"]) for r in found] == [
        ("control", 0, pytest.approx(100)),
        ("control", 2, pytest.approx(200)),
    ]
    assert (found[0]["T_LLM_decode_ms"], found[0]["decode_steps"]) == (pytest.approx(60), 2)
    assert found[0]["T_TTFT_ms"] == pytest.approx(38)


def test_those_in_the_middle_are_counted() -> None:
    made = [control(times(factor=f, index=i)) for i, f in enumerate((1, 5, 1.1, 0.5))]
    made.append(control(replace(times(index=4), bare=True, segments=())))
    found = rows(made)
    assert [r["counted"] for r in found] == [True, False, True, False, False]
    assert [r["bare"] for r in found] == [False] * 4 + [True]
    assert found[4]["decode_steps"] is None


def test_attached_ones_beside_others_are_not_counted_and_alone_they_are() -> None:
    both = [control(times()), control(times(index=1, cupti="attached"))]
    assert [(r["cupti"], r["counted"]) for r in rows(both)] == [
        ("never", True),
        ("attached", False),
    ]
    assert [r["counted"] for r in rows(both[1:])] == [True]


def test_a_detach_that_did_not_work_reads_as_attached() -> None:
    found = rows([control(times(cupti="detached"))], detach={"works": False})
    assert found[0]["cupti"] == "attached"


def test_a_total_alone_is_counted_where_stages_are_scaled_to_it() -> None:
    (found,) = rows([control(total_alone(100))])
    assert (found["counted"], found["T_total_ms"], found["T_rest_ms"]) == (True, 100, None)


def test_the_machines_state_before_the_run_stands_in_its_row() -> None:
    before = {"probe_ns": 2100.5, "load_1m": 0.3, "psi_cpu_some_10s": 1.5, "steal_ticks": 7}
    made = control(times(), machine={"before": before}, ordinal=4, started_unix_ns=10**18)
    (found,) = rows([made])
    assert (found["probe_ns"], found["load_1m"]) == (2100.5, 0.3)
    assert (found["psi_cpu_some_10s"], found["steal_ticks"]) == (1.5, 7)
    assert (found["ordinal"], found["started_unix_ns"]) == (4, 10**18)
    assert (found["input_tokens"], found["output_tokens"]) == (100, 3)
    (older,) = rows([control(times())])
    assert older["probe_ns"] is older["ordinal"] is None


def test_others_traces_have_no_controls() -> None:
    assert list(control_rows(samples_of(None, [run()]))) == []
    assert list(control_rows(())) == []
