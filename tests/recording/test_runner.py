"""Groups of runs, with a fake profiler that loses kernels as known CUPTI builds do."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from trace_timing.recording import runner as runner_module
from trace_timing.recording.files import open_directory, read_records
from trace_timing.recording.runner import (
    ATTEMPTS,
    BARE_EVERY,
    EARLY_CONTROLS,
    TOKENS_DIFFER,
    Call,
    Runner,
    RunSettings,
    SinkSlot,
)
from trace_timing.records import RunRecord

pytestmark = pytest.mark.capture
LAUNCHES = 20


class Model(torch.nn.Module):
    """Answers with tokens from the random state, so that equal states give equal tokens."""

    config = None

    def generate(self) -> torch.Tensor:
        return torch.randint(1, 1000, (1, 5))


class FakeSession:
    """Writes a trace of LAUNCHES kernels and loses the first `loses(session number)` of all."""

    def __init__(self, loses: Any = lambda number: 0) -> None:
        self.loses = loses
        self.number = -1
        self.pads = 0

    def start(self) -> None:
        self.number += 1
        self.pads = 0

    def stop(self) -> None:
        pass

    def save(self, path: Path) -> None:
        lost = max(self.loses(self.number) - self.pads, 0)
        events = [
            {
                "ph": "X",
                "cat": "user_annotation",
                "name": "generate",
                "ts": 0,
                "dur": 99,
                "args": {},
            }
        ]
        for i in range(LAUNCHES):
            args = {"correlation": i}
            launch = {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": i, "dur": 1}
            events.append({"ph": "X", **launch, "args": args})
            if i >= lost:
                kernel = {"cat": "kernel", "name": "k", "ts": i + 5, "dur": 1}
                events.append({"ph": "X", **kernel, "args": args})
        path.write_text(json.dumps({"traceEvents": events}))


@dataclass
class Bench:
    """A runner on a fake session, and what it was seen to do."""

    runner: Runner
    session: FakeSession
    folder: Path
    detached: list[int] = field(default_factory=list)

    def group(self, name: str, run: Any = None, **more: Any) -> Any:
        return self.runner.group(
            Call(sample_id=name, repeat=0, run=run or Model().generate, **more)
        )

    def records(self) -> list[RunRecord]:
        return read_records(self.folder / "runs.rank0.jsonl")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(loses: Any = lambda number: 0, controls: int = 1, settle: bool = True) -> Bench:
        session = FakeSession(loses)
        monkeypatch.setattr(
            runner_module,
            "run_spare_kernels",
            lambda devices, number: setattr(session, "pads", number),
        )
        detached: list[int] = []

        def off() -> Any:
            detached.append(1)
            return nullcontext()

        made = Runner(
            model=Model(),
            slot=SinkSlot(),
            session=session,
            directory=open_directory(tmp_path),
            settings=RunSettings(controls=controls, settle=settle),
            detached=off,
            on_trace=lambda name: ("json.gz",),
        )
        return Bench(made, session, tmp_path, detached)

    return make


def test_lost_kernels_are_padded_away_and_stay_so(bench: Any) -> None:
    found = bench(lambda number: 3)
    for name in "ab":
        assert found.group(name).record.status == "ok"
    first, second = (r.machine["session"] for r in found.records() if r.role == "profiled")
    assert (first["attempts"], first["lost_kernels"], first["pad_kernels"]) == (2, 0, 6)
    assert second["attempts"] == 1


def test_a_loss_that_grows_with_each_session_is_followed(bench: Any) -> None:
    found = bench(lambda number: number)
    assert [found.group(str(i)).record.status for i in range(40)] == ["ok"] * 40


def test_a_sample_whose_kernels_stay_lost_is_refused(bench: Any) -> None:
    found = bench(lambda number: 10**6)
    outcome = found.group("a")
    assert outcome.output.shape == (1, 5)
    assert outcome.record.status == "failed"
    assert f"lost {LAUNCHES} of {LAUNCHES} kernels in {ATTEMPTS} sessions" in outcome.record.reason
    assert outcome.record.trace is None
    assert list((found.folder / "traces").iterdir()) == []


def test_a_call_that_must_not_be_repeated_is_made_once(bench: Any) -> None:
    calls: list[int] = []
    found = bench(lambda number: 3)
    outcome = found.group("a", run=lambda: calls.append(1), repeatable=False)
    assert (len(calls), outcome.record.status) == (1, "failed")
    assert len(found.records()) == 1


@pytest.mark.parametrize("controls", [1, 2, 3])
def test_the_profiled_run_takes_every_place_of_its_group_in_turn(bench: Any, controls: int) -> None:
    found = bench(controls=controls)
    for i in range(controls + 1):
        found.group(str(i))
    orders = [
        [r.role for r in found.records() if r.sample_id == str(i)].index("profiled")
        for i in range(controls + 1)
    ]
    assert sorted(orders) == list(range(controls + 1))
    assert [r.ordinal for r in found.records()] == list(range((controls + 1) ** 2))
    indices = {r.control.index for r in found.records() if r.control is not None}
    assert indices == set(range(controls))


def test_every_tenth_control_is_bare_and_without_hooks(bench: Any) -> None:
    found = bench()
    for i in range(2 * BARE_EVERY):
        found.group(str(i))
    bare = [r.control.bare for r in found.records() if r.control is not None]
    assert [i + 1 for i, is_bare in enumerate(bare) if is_bare] == [BARE_EVERY, 2 * BARE_EVERY]
    assert len(found.detached) == 2


def test_sampling_gives_a_pair_equal_tokens_and_moves_on_as_one_call_would(bench: Any) -> None:
    torch.manual_seed(7)
    expected = [Model().generate() for _ in range(3)]
    torch.manual_seed(7)
    found = bench(controls=2)
    outputs = [found.group(str(i)).output for i in range(3)]
    assert all(map(torch.equal, outputs, expected))
    assert {r.status for r in found.records()} == {"ok"}


def test_a_control_with_other_tokens_is_dropped_and_says_so(bench: Any) -> None:
    numbers = iter(range(100))
    found = bench()
    found.group("a", run=lambda: torch.full((1, 3), next(numbers)))
    by_role = {r.role: r for r in found.records()}
    assert by_role["profiled"].status == "ok"
    assert (by_role["control"].status, by_role["control"].reason) == ("failed", TOKENS_DIFFER)


def test_an_exception_comes_through_and_the_run_is_recorded_as_failed(bench: Any) -> None:
    error = RuntimeError("of the user's\nsecond line")

    def broken() -> None:
        raise error

    found = bench(controls=0)
    with pytest.raises(RuntimeError) as caught:
        found.group("a", run=broken)
    assert caught.value is error
    (record,) = found.records()
    assert (record.status, record.reason) == ("failed", "RuntimeError: of the user's")
    assert found.group("b").record.status == "ok"


def test_early_controls_are_kept_apart_and_leave_the_random_state(bench: Any) -> None:
    found = bench()
    before = torch.get_rng_state()
    found.runner.early_controls(Call(sample_id="a", repeat=0, run=Model().generate))
    assert torch.equal(before, torch.get_rng_state())
    early = [r.control.before_profiling for r in found.records()]
    assert early == [True] * EARLY_CONTROLS


def test_memory_is_read_before_and_after_each_run(bench: Any) -> None:
    found = bench()
    found.group("a")
    for record in found.records():
        assert record.machine["before"]["rss_bytes"] > 10**7
        assert record.machine["after"]["rss_bytes"] > 10**7


@pytest.mark.parametrize(("settle", "calls"), [(True, [2, 3, 2, 3]), (False, [2, 2, 2, 2])])
def test_no_control_comes_right_after_a_stored_trace(
    bench: Any, settle: bool, calls: list[int]
) -> None:
    here, counts = bench(settle=settle), []
    for number in range(4):  # control first and profiled first, in turn
        made: list[int] = []
        here.group(f"s{number}", lambda made=made: made.append(1) or Model().generate())
        counts.append(len(made))
    assert counts == calls
    assert {r.status for r in here.records()} == {"ok"}, "an unmeasured run moves no random state"
