"""A sample's runs: their order, number, random state and records."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from tests.recording.benches import (
    CuptiSession,
    FakeCupti,
    Model,
    attachment_of,
    bench_in,
)
from trace_timing.recording.detach import GRAPHS_SEEN

pytestmark = pytest.mark.capture


def test_controls_are_numbered_in_the_order_made_and_say_how_many_were_planned(
    tmp_path: Path,
) -> None:
    bench = bench_in(tmp_path)
    bench.controls("a", 3)
    bench.recorded("a")
    found = bench.records()
    assert [r.role for r in found] == ["control"] * 3 + ["recorded"]
    assert [r.control.index for r in found if r.control] == [0, 1, 2]
    assert [r.machine["planned_controls"] for r in found if r.control] == [3] * 3
    assert [r.ordinal for r in found] == [0, 1, 2, 3]


def test_what_a_control_returned_is_let_go_before_the_next_one(tmp_path: Path) -> None:
    bench, alive, outputs = bench_in(tmp_path), [], []

    def run() -> Any:
        alive.append(sum(seen() is not None for seen in outputs))
        output = Model().generate()
        outputs.append(weakref.ref(output))
        return output

    made = bench.controls("a", 4, run, repeatable=False)
    assert alive == [0, 0, 0, 0]
    assert made.output is outputs[-1]()


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_bare_control_is_one_more_and_never_the_last(tmp_path: Path, number: int) -> None:
    bench = bench_in(tmp_path)
    bench.controls("a", number, bare=True)
    bare = [r.control.bare for r in bench.records() if r.control]
    assert len(bare) == number + 1
    assert bare.count(True) == len(bench.unhooked) == 1
    assert not bare[-1]


def test_controls_go_on_until_they_are_precise_enough(tmp_path: Path) -> None:
    bench, seen = bench_in(tmp_path), []

    def enough(totals: Any) -> bool:
        seen.append(len(totals))
        return len(totals) >= 7

    bench.controls("a", 2, bare=True, enough=enough, most=30)
    assert seen == [2, 3, 4, 5, 6, 7]  # the bare one is not asked about
    assert len(bench.records()) == 8
    assert {r.machine["planned_controls"] for r in bench.records()} == {2}


def test_controls_that_never_get_precise_stop_at_the_most(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    bench.controls("a", 2, enough=lambda totals: False, most=6)
    assert len(bench.records()) == 6


def test_ranks_that_work_together_make_as_many_runs_as_the_one_that_needs_most(
    tmp_path: Path,
) -> None:
    others = iter([False, False, True])
    bench = bench_in(tmp_path, all_agree=lambda says: says and next(others))
    bench.controls("a", 2, enough=lambda totals: True, most=30)
    assert len(bench.records()) == 4


def test_every_run_of_a_sample_gets_equal_tokens_and_moves_on_as_one_call_would(
    tmp_path: Path,
) -> None:
    torch.manual_seed(7)
    expected = [Model().generate() for _ in range(3)]
    torch.manual_seed(7)
    bench = bench_in(tmp_path, warm_up=True)
    outputs = []
    for name in "abc":
        state = torch.get_rng_state()
        bench.controls(name, 2)
        torch.set_rng_state(state)
        outputs.append(bench.recorded(name).output)
    assert all(map(torch.equal, outputs, expected))
    by_sample = [{r.tokens_sha256 for r in bench.records() if r.sample_id == s} for s in "abc"]
    assert [len(found) for found in by_sample] == [1, 1, 1]


def test_an_exception_comes_through_and_leaves_the_controls_before_it(tmp_path: Path) -> None:
    error = RuntimeError("of the user's\nsecond line")
    calls: list[int] = []

    def breaks_at_the_second() -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise error
        return Model().generate()

    bench = bench_in(tmp_path)
    with pytest.raises(RuntimeError) as caught:
        bench.controls("a", 3, breaks_at_the_second)
    assert caught.value is error
    found = {r.status: r for r in bench.records()}
    assert found["failed"].reason == "RuntimeError: of the user's"
    assert found["failed"].role == "control"
    assert found["ok"].control is not None


class Lengths:
    """A generate() whose steps to a length that is new to it take 58 ms, and others 22 ms.

    It is the clock of controls as well.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        monkeypatch.setattr("trace_timing.recording.control.perf_counter_ns", lambda: self.now)
        self.had: set[int] = set()
        self.runs: list[int] = []

    def run(self, bench: Any, steps: int) -> torch.Tensor:
        """As the hooks would tell a control's sink of it."""
        self.runs.append(steps)
        sink = bench.runner._controls._slot.sink
        if sink is None:  # a bare one
            return Model().generate()
        sink.enter("generate")
        for step in range(1, steps):
            sink.enter("decode", step)
            self.now += 22_000_000 if step in self.had else 58_000_000
            sink.exit()
            self.had.add(step)
        sink.exit()
        return Model().generate()


def long_controls(bench: Any, name: str, lengths: Lengths, number: int, **more: Any) -> list[Any]:
    """A sample's controls of 36 steps, its warm-up of 16 before them; their records."""
    bench.controls(
        name,
        number,
        lambda: lengths.run(bench, 37),
        short=lambda: lengths.run(bench, 16),
        shape=(("ids", (1, 4)),),
        **more,
    )
    return [r for r in bench.records() if r.sample_id == name]


@pytest.mark.parametrize(("number", "bare"), [(1, False), (2, False), (2, True), (5, True)])
def test_the_first_run_to_new_lengths_is_no_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, bare: bool
) -> None:
    bench, lengths = bench_in(tmp_path, warm_up=True), Lengths(monkeypatch)
    found = long_controls(bench, "a", lengths, number, bare=bare)
    assert len(found) == number + bare
    assert [r.control.index for r in found] == list(range(len(found)))
    assert sum(r.control.bare for r in found) == bare
    kept = [r.control.total_ns for r in found if not r.control.bare]
    assert set(kept) == {36 * 22_000_000}
    assert found[0].machine["first_of_its_lengths_ns"] == (15 * 22 + 21 * 58) * 1_000_000
    assert found[0].machine["warm_up"]["runs"] == len([n for n in lengths.runs if n == 16])
    assert lengths.runs.count(37) == number + bare + 1
    # Lengths that it has had cost no run.
    again = long_controls(bench, "b", lengths, number, bare=bare)
    assert lengths.runs.count(37) == 2 * (number + bare) + 1
    assert "first_of_its_lengths_ns" not in again[0].machine


def test_a_longer_call_of_a_shape_that_is_warm_comes_to_new_lengths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a wrapped function, which is warmed up whole: by the first call of its shape, however
    short that is."""
    bench, lengths = bench_in(tmp_path, warm_up=True), Lengths(monkeypatch)
    for name, steps in (("a", 4), ("b", 12), ("c", 12), ("d", 7)):
        bench.controls(name, 2, lambda n=steps: lengths.run(bench, n), shape=(("ids", (1, 4)),))
    found = {name: [r for r in bench.records() if r.sample_id == name] for name in "abcd"}
    assert {len(records) for records in found.values()} == {2}
    counted = {name: {r.control.total_ns // 22_000_000 for r in found[name]} for name in "abcd"}
    assert counted == {"a": {3}, "b": {11}, "c": {11}, "d": {6}}
    dropped = [name for name in "abcd" if "first_of_its_lengths_ns" in found[name][0].machine]
    assert dropped == ["b"]
    assert found["b"][0].machine["first_of_its_lengths_ns"] == (3 * 22 + 8 * 58) * 1_000_000


def test_without_warm_up_every_run_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, lengths = bench_in(tmp_path), Lengths(monkeypatch)
    found = long_controls(bench, "a", lengths, 2)
    assert lengths.runs == [37, 37]
    assert len(found) == 2


def test_a_new_shape_is_warmed_up_before_its_first_control_and_an_old_one_is_not(
    tmp_path: Path,
) -> None:
    bench = bench_in(tmp_path, warm_up=True)
    shape, other = ((("ids", (1, 4)),), (("ids", (1, 9)),))
    counts = []
    for name, one in (("a", shape), ("b", shape), ("c", other)):
        calls: list[int] = []
        run = lambda calls=calls: calls.append(1) or Model().generate()  # noqa: E731
        bench.controls(name, 2, run, shape=one)
        counts.append(len(calls))
    assert counts[1] == 2
    assert counts[0] >= 4
    assert counts[2] >= 4
    told = [r.machine.get("warm_up") for r in bench.records()]
    assert [one is not None for one in told] == [True, False, False, False, True, False]
    assert told[0]["runs"] == counts[0] - 2


def test_a_sample_of_unknown_shape_is_warmed_up_once(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, warm_up=True)
    for name in "ab":
        bench.controls(name, 1)
        bench.recorded(name)
    told = ["warm_up" in r.machine for r in bench.records()]
    assert told == [True, False, True, False]


def test_a_warm_up_runs_the_short_form(tmp_path: Path) -> None:
    made: list[str] = []
    bench = bench_in(tmp_path, warm_up=True)
    bench.controls(
        "a",
        2,
        lambda: made.append("whole") or Model().generate(),
        short=lambda: made.append("short") or Model().generate(),
    )
    assert made == ["short"] * (len(made) - 2) + ["whole"] * 2
    assert len(made) >= 4


def test_a_failure_while_warming_up_is_recorded_once_and_tried_again_later(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, warm_up=True)
    broken = [1]

    def run() -> torch.Tensor:
        if broken:
            raise ValueError("no")
        return Model().generate()

    with pytest.raises(ValueError, match="no"):
        bench.controls("a", 2, run, shape=(("ids", (1, 4)),))
    (failed,) = bench.records()
    assert (failed.role, failed.reason) == ("control", "while warming up: ValueError: no")
    broken.clear()
    bench.recorded("a", run, shape=(("ids", (1, 4)),))
    assert bench.records()[-1].machine["warm_up"]["runs"] >= 2


def test_a_call_that_must_not_be_repeated_is_not_warmed_up_and_says_so(tmp_path: Path) -> None:
    calls: list[int] = []
    bench = bench_in(tmp_path, warm_up=True)
    bench.controls("a", 1, lambda: calls.append(1) or Model().generate(), repeatable=False)
    assert len(calls) == 1
    (record,) = bench.records()
    assert record.machine["warm_up"] == {"runs": 0, "agreed": False, "totals_ns": []}


def test_one_session_before_the_first_kept_one_is_thrown_away(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, warm_up=True)
    for name in "ab":
        bench.recorded(name)
    assert bench.session.number == 2
    assert [r.role for r in bench.records()] == ["recorded"] * 2
    assert len(list((tmp_path / "traces").iterdir())) == 2


def test_a_control_does_not_come_right_after_a_stored_trace(tmp_path: Path) -> None:
    bench, counts = bench_in(tmp_path), []
    for name in "abc":
        calls: list[int] = []
        run = lambda calls=calls: calls.append(1) or Model().generate()  # noqa: E731
        bench.controls(name, 2, run)
        counts.append(len(calls))
        if name == "a":
            bench.recorded(name)
    assert counts == [2, 3, 2]


def test_the_machine_is_read_before_and_after_each_run(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    bench.controls("a")
    bench.recorded("a")
    for record in bench.records():
        before = record.machine["before"]
        assert before["rss_bytes"] > 10**7
        assert before["load_1m"] >= 0
        assert {"psi_cpu_some_10s", "steal_ticks"} <= before.keys()
        assert before["probe_ns"] is None  # there is no GPU
        assert record.machine["after"]["rss_bytes"] > 10**7


def test_controls_say_whether_cupti_was_there(tmp_path: Path) -> None:
    cupti = FakeCupti()
    bench = bench_in(tmp_path, CuptiSession(cupti), attachment=attachment_of(cupti))
    bench.controls("a")
    bench.recorded("a")
    bench.controls("b")
    bench.runner.detach()
    bench.controls("c")
    bench.recorded("c")
    bench.runner.detach()
    bench.controls("d")
    states = [r.control.cupti for r in bench.records() if r.control]
    assert states == ["never", "attached", "detached", "detached"]
    costs = [r.machine["before"]["probe_ns"] for r in bench.records() if r.control]
    assert [round(cost / cupti.base, 1) for cost in costs] == [1.0, 1.4, 1.0, 1.0]


def test_graphs_replayed_while_warming_up_forbid_a_detach_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: None)
    replay = torch.cuda.CUDAGraph.replay
    cupti = FakeCupti()
    bench = bench_in(tmp_path, CuptiSession(cupti), attachment=attachment_of(cupti), warm_up=True)

    def run() -> torch.Tensor:
        torch.cuda.CUDAGraph.replay(object())
        return Model().generate()

    bench.controls("a", 2, run)
    assert torch.cuda.CUDAGraph.replay is replay
    assert bench.runner.attachment.why_not == GRAPHS_SEEN
    bench.recorded("a", run)
    bench.runner.detach()
    bench.controls("b", 1, run)
    assert cupti.finalized == 0
    states = [r.control.cupti for r in bench.records() if r.control]
    assert states == ["never", "never", "attached"]


@pytest.mark.parametrize("call", ["cudaGraphLaunch", "hipGraphLaunch", "cuGraphLaunch"])
def test_a_graph_in_a_sessions_records_forbids_a_detach(tmp_path: Path, call: str) -> None:
    cupti = FakeCupti()
    session = CuptiSession(cupti, graph_calls=[call])
    bench = bench_in(tmp_path, session, attachment=attachment_of(cupti))
    bench.recorded("a")
    bench.runner.detach()
    session.graph_calls = []
    bench.recorded("b")  # what was replayed once may be replayed again
    bench.runner.detach()
    assert cupti.finalized == 0
    assert "recorded CUDA graphs" in bench.runner.attachment.summary()["why_not"]


@pytest.mark.parametrize(
    ("calls", "forbidden"), [([], False), (["cudaGraphLaunch"], True)], ids=["none", "a graph"]
)
def test_a_session_whose_call_raises_is_looked_through_for_graphs(
    tmp_path: Path, calls: list[str], forbidden: bool
) -> None:
    cupti = FakeCupti()
    session = CuptiSession(cupti, graph_calls=calls)
    bench = bench_in(tmp_path, session, attachment=attachment_of(cupti))

    def broken() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        bench.recorded("a", broken)
    assert [(r.role, r.status) for r in bench.records()] == [("recorded", "failed")]
    assert (bench.runner.attachment.why_not is not None) is forbidden
    assert list((tmp_path / "traces").iterdir()) == []


def test_a_session_that_cannot_be_looked_through_forbids_a_detach(tmp_path: Path) -> None:
    cupti = FakeCupti()
    session = CuptiSession(cupti)
    session.save = lambda path: path.write_text("{")  # type: ignore[method-assign]
    bench = bench_in(tmp_path, session, attachment=attachment_of(cupti))
    with pytest.raises(RuntimeError, match="no"):
        bench.recorded("a", lambda: (_ for _ in ()).throw(RuntimeError("no")))
    assert "could not be read" in (bench.runner.attachment.why_not or "")
