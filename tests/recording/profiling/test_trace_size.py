"""A run whose trace nobody could open is refused, with what to do; its controls stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.recording.benches import FakeSession, bench_in
from trace_timing.errors import CaptureError
from trace_timing.recording.profiling import trace_size
from trace_timing.recording.profiling.trace_size import MOST_BYTES, TraceSize
from trace_timing.recording.runs.step_plan import StepPlan
from trace_timing.recording.runs.step_planner import Planned, StepPlanner

pytestmark = pytest.mark.capture
MB = 10**6


def sized(json_bytes: int = 320 * MB, steps: int = 15) -> TraceSize:
    size = TraceSize()
    size.learn(json_bytes, steps)
    return size


def test_the_trace_of_a_molmoe_caption_fits_and_that_of_512_tokens_does_not() -> None:
    assert sized().fits(63)
    assert not sized().fits(511)


def test_the_limit_is_met_to_the_byte() -> None:
    assert sized(MOST_BYTES, 1).fits(1)
    assert not sized(MOST_BYTES + 1, 1).fits(1)


def test_where_size_or_steps_are_not_known_nothing_is_refused() -> None:
    assert sized().fits(None)
    assert TraceSize().fits(10**6)
    assert sized(MOST_BYTES, 0).fits(10**6)


def test_the_error_says_how_large_and_how_many_steps_would_fit() -> None:
    message = str(sized().too_large(511, fewer=True))
    assert "511 decode steps would have some 10.2 GB" in message
    assert "a step took 20.0 MB" in message
    assert "record at most 106 steps of a run with --record-steps" in message
    assert sized().fits(106)
    assert not sized().fits(107)


def test_where_steps_cannot_be_left_out_it_says_how_many_tokens() -> None:
    message = str(sized().too_large(511, fewer=False))
    assert "generate at most 107 new tokens" in message


def test_a_run_is_refused_by_the_session_before_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_size, "MOST_BYTES", 4000)
    session = FakeSession(steps=3)
    bench = bench_in(tmp_path, session, planner=StepPlanner(None, "all"))
    made: list[str] = []
    run = lambda: made.append("run")  # noqa: E731
    bench.recorded("first", run, inputs={"max_new_tokens": 4})
    with pytest.raises(CaptureError, match="40 decode steps would have"):
        bench.recorded("second", run, inputs={"max_new_tokens": 41})
    bench.recorded("third", run, inputs={"max_new_tokens": 3})
    assert made == ["run", "run"]
    statuses = [(record.sample_id, record.status) for record in bench.records()]
    assert statuses == [("first", "ok"), ("second", "failed"), ("third", "ok")]
    assert "--record-steps" in (bench.records()[1].reason or "")


def test_a_trace_of_some_steps_alone_teaches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_size, "MOST_BYTES", 100)
    planner = Planning(Planned(plan=StepPlan(((1, 2),)), steps=2), Planned(steps=10**6))
    bench = bench_in(tmp_path, FakeSession(steps=3), planner=planner)
    assert [bench.recorded(name).record.status for name in "ab"] == ["ok", "ok"]


class Planning:
    """Plans what it is given, one after the other."""

    def __init__(self, *planned: Planned) -> None:
        self.planned = list(planned)

    def plan(self, call: Any, attachment: Any) -> Planned:
        return self.planned.pop(0)
