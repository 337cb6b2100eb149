"""Recorded runs: kernels that the profiler loses are padded away, or the sample is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.recording.benches import LAUNCHES, Bench, FakeSession, Model, bench_in
from trace_timing.recording.runs import session_runs
from trace_timing.recording.runs.session_runs import ATTEMPTS

pytestmark = pytest.mark.capture


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    def make(loses: Callable[[int], int], **more: Any) -> Bench:
        session = FakeSession(loses)
        monkeypatch.setattr(
            session_runs,
            "run_spare_kernels",
            lambda devices, number: setattr(session, "pads", number),
        )
        return bench_in(tmp_path, session, **more)

    return make


def test_lost_kernels_are_padded_away_and_stay_so(bench: Any) -> None:
    found = bench(lambda number: 3)
    for name in "ab":
        assert found.recorded(name).record.status == "ok"
    first, second = (r.machine["session"] for r in found.records())
    assert (first["attempts"], first["lost_kernels"], first["pad_kernels"]) == (2, 0, 6)
    assert second["attempts"] == 1


def test_a_loss_that_grows_with_each_session_is_followed(bench: Any) -> None:
    found = bench(lambda number: number)
    assert [found.recorded(str(i)).record.status for i in range(40)] == ["ok"] * 40


def test_a_sample_whose_kernels_stay_lost_is_refused(bench: Any) -> None:
    found = bench(lambda number: 10**6)
    outcome = found.recorded("a")
    assert outcome.output.shape == (1, 5)
    assert outcome.record.status == "failed"
    assert f"lost {LAUNCHES} of {LAUNCHES} kernels in {ATTEMPTS} sessions" in outcome.record.reason
    assert outcome.record.trace is None
    assert list((found.folder / "traces").iterdir()) == []


def test_a_call_that_must_not_be_repeated_is_made_once(bench: Any) -> None:
    calls: list[int] = []
    found = bench(lambda number: 3)
    run = lambda: calls.append(1) or Model().generate()  # noqa: E731
    outcome = found.recorded("a", run, repeatable=False)
    assert (len(calls), outcome.record.status) == (1, "failed")
    assert len(found.records()) == 1


def test_ranks_that_work_together_try_again_where_one_of_them_lost_kernels(bench: Any) -> None:
    others = iter([True, False, True])  # before the run, and after each
    found = bench(lambda number: 0, all_agree=lambda says: says and next(others))
    assert found.recorded("a").record.machine["session"]["attempts"] == 2
