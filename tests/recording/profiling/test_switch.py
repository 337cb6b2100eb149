"""Recording switched within a session: marks in real traces, with a switch that only counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from tests.recording.models import llama
from trace_timing.recording.hooks.attach import attach
from trace_timing.recording.model.locate import resolve
from trace_timing.recording.profiling.switch import CuptiSwitch, switch_in
from trace_timing.recording.runs.calls import SinkSlot
from trace_timing.recording.runs.profiler import ScopedSession
from trace_timing.recording.runs.profiler_sink import SwitchingSink
from trace_timing.recording.runs.step_plan import StepPlan

pytestmark = pytest.mark.capture


class FakeSwitch:
    """Keeps what it was told, and fails where it is to."""

    def __init__(self, *, off_works: bool = True, on_works: bool = True) -> None:
        self.told: list[str] = []
        self._off_works, self._on_works = off_works, on_works

    def off(self) -> bool:
        self.told.append("off")
        return self._off_works

    def on(self) -> bool:
        self.told.append("on")
        return self._on_works


PLAN = StepPlan(((1, 2), (7, 8)), 8)


def generated(
    sink: SwitchingSink, tokens: int, folder: Path, **options: Any
) -> list[tuple[str, float, float]]:
    """Name, begin and end of the ranges that a generate() of so many tokens leaves in a trace."""
    model = llama().model
    slot = SinkSlot()
    session = ScopedSession("ranges")
    ids = torch.tensor([[1, 7, 8, 9]])
    with attach(resolve(model), slot):
        session.start()
        slot.sink = sink
        model.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, **options)
        slot.sink = None
        sink.close()
        session.stop()
    session.save(folder / "t.json")
    events = json.loads((folder / "t.json").read_text())["traceEvents"]
    found = [e for e in events if e.get("cat") == "user_annotation"]
    return sorted((e["name"], e["ts"], e["ts"] + e["dur"]) for e in found)


def inside(found: list[tuple[str, float, float]], mark: tuple[str, float, float]) -> list[str]:
    """Names of the ranges that lie in a mark, by begin."""
    own = [r for r in found if mark[1] <= r[1] and r[2] <= mark[2] and r != mark]
    return [name for name, *_ in sorted(own, key=lambda r: (r[1], -r[2]))]


def marks(found: list[tuple[str, float, float]], name: str) -> list[tuple[str, float, float]]:
    return sorted((r for r in found if r[0] == name), key=lambda r: r[1])


def steps(*numbers: int) -> list[str]:
    return [name for n in numbers for name in (f"decode[{n}]", f"sampling[{n}]")]


def test_marks_hold_whole_steps_and_host_ranges_are_there_of_all(tmp_path: Path) -> None:
    switch = FakeSwitch()
    found = generated(SwitchingSink(PLAN, switch), 9, tmp_path)
    assert switch.told == ["off", "on"]
    (gap,), (guard,) = marks(found, "recording_off"), marks(found, "recording_guard")
    assert inside(found, gap) == steps(3, 4, 5)
    assert inside(found, guard) == steps(6)
    names = {name for name, *_ in found}
    assert names >= set(steps(*range(1, 9)))


def test_a_run_that_ends_early_is_recording_again_when_it_ends(tmp_path: Path) -> None:
    switch = FakeSwitch()
    found = generated(SwitchingSink(PLAN, switch), 5, tmp_path)
    assert switch.told == ["off", "on"]
    (gap,) = marks(found, "recording_off")
    assert inside(found, gap) == steps(3, 4)
    assert marks(found, "recording_guard") == []


def test_a_run_that_goes_on_beyond_its_plan_is_not_recorded_there(tmp_path: Path) -> None:
    switch = FakeSwitch()
    found = generated(SwitchingSink(PLAN, switch), 12, tmp_path)
    assert switch.told == ["off", "on", "off", "on"]
    assert [inside(found, gap) for gap in marks(found, "recording_off")] == [
        steps(3, 4, 5),
        steps(9, 10, 11),
    ]


def test_nothing_is_switched_once_it_may_not_be(tmp_path: Path) -> None:
    switch = FakeSwitch()
    found = generated(SwitchingSink(PLAN, switch, lambda: False), 9, tmp_path)
    assert switch.told == []
    assert marks(found, "recording_off") == marks(found, "recording_guard") == []


def test_where_off_fails_all_is_put_on_again_and_the_rest_is_recorded(tmp_path: Path) -> None:
    switch = FakeSwitch(off_works=False)
    sink = SwitchingSink(PLAN, switch)
    found = generated(sink, 12, tmp_path)
    assert switch.told == ["off", "on"]
    (gap,) = marks(found, "recording_off")
    assert inside(found, gap) == steps(3)
    assert sink.failed


def test_where_on_fails_no_step_counts_as_recorded_any_more(tmp_path: Path) -> None:
    switch = FakeSwitch(on_works=False)
    found = generated(SwitchingSink(PLAN, switch), 12, tmp_path)
    assert switch.told[:2] == ["off", "on"]
    (gap,), (guard,) = marks(found, "recording_off"), marks(found, "recording_guard")
    assert inside(found, gap) == steps(3, 4, 5)
    assert inside(found, guard) == steps(*range(6, 12))


def test_beams_make_steps_as_one_sequence_does(tmp_path: Path) -> None:
    found = generated(SwitchingSink(PLAN, FakeSwitch()), 9, tmp_path, num_beams=2)
    (gap,) = marks(found, "recording_off")
    assert inside(found, gap) == steps(3, 4, 5)


def test_a_second_prefill_in_a_gap_is_recorded() -> None:
    switch = FakeSwitch()
    sink = SwitchingSink(StepPlan(((1, 1), (9, 9)), 9), switch)
    sink.enter("generate")
    for stage, step in (("prefill", None), ("decode", 1), ("decode", 2), ("prefill", None)):
        sink.enter(stage, step)
        was_recording = sink.is_recording
        sink.exit()
        assert was_recording == (stage == "prefill" or step == 1)
    sink.exit()
    assert switch.told == ["off", "on"]


def test_ranges_that_an_exception_leaves_open_are_closed_and_recording_goes_on() -> None:
    switch = FakeSwitch()
    sink = SwitchingSink(StepPlan(((1, 1), (9, 9)), 9), switch)
    for stage, step in (("generate", None), ("decode", 1)):
        sink.enter(stage, step)
    sink.exit()
    sink.enter("decode", 2)
    sink.close()
    assert sink.is_recording
    assert switch.told == ["off", "on"]


class FakeCupti:
    """A library whose calls keep their kinds and return a code."""

    def __init__(self, code: int) -> None:
        self.kinds: list[tuple[str, int]] = []

        def call(name: str) -> Any:
            def switch(kind: int) -> int:
                self.kinds.append((name, kind))
                return code

            return switch

        self.cuptiActivityDisable, self.cuptiActivityEnable = call("off"), call("on")


@pytest.mark.parametrize(("code", "works"), [(0, True), (7, False)])
def test_kernels_go_off_first_and_on_last(code: int, works: bool) -> None:
    cupti = FakeCupti(code)
    switch = CuptiSwitch(cupti)
    assert (switch.off(), switch.on()) == (works, works)
    assert cupti.kinds == [
        *(("off", kind) for kind in (10, 1, 2, 5, 4, 39)),
        *(("on", kind) for kind in (39, 4, 5, 2, 1, 10)),
    ]


def test_a_library_that_is_not_loaded_or_no_cupti_is_no_switch(tmp_path: Path) -> None:
    assert switch_in(tmp_path / "libcupti.so") is None
    maps = Path("/proc/self/maps").read_text().splitlines()
    (libc, *_) = [line.split(maxsplit=5)[-1] for line in maps if "/libc.so" in line]
    assert switch_in(Path(libc)) is None
