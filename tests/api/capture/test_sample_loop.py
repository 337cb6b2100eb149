"""Samples in both orders: all controls before any session, or sample by sample; and resumed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from PIL import Image

import trace_timing
from trace_timing.api.capture.sample_loop import SampleLoop, Step, capture_samples, planned_calls
from trace_timing.recording.model.loading import Loaded, ModelChoice, load
from trace_timing.recording.samples import Sample
from trace_timing.recording.storage.directory import StorageError, read_records
from trace_timing.records.runs import RunRecord

pytestmark = pytest.mark.capture
IMAGE = Image.new("RGB", (30, 20), "red")
SAMPLES = [Sample(id=str(i), images=(IMAGE,), prompt="what") for i in range(6)]


@pytest.fixture(scope="module")
def tiny() -> Loaded:
    return load(ModelChoice(name="tiny-llava", device="cpu"))


def records(folder: Path) -> list[RunRecord]:
    return read_records(folder / "runs.rank0.jsonl")


def roles(folder: Path) -> list[tuple[str, str]]:
    return [(r.sample_id, r.role) for r in records(folder)]


def put_through(
    folder: Path,
    tiny: Loaded,
    samples: list[Sample],
    *,
    repeats: int = 1,
    steps: int | None = None,
    **options: Any,
) -> list[Step]:
    """Capture samples, cut short after so many steps."""
    options = {"order": "controls-first", "warm_up": False, "keep": "json", **options}
    made: list[Step] = []
    with trace_timing.capture(folder, tiny.model, **options) as session:
        loop = SampleLoop(max_new_tokens=2, repeats=repeats)
        stop = lambda: steps is not None and len(made) >= steps  # noqa: E731
        # One by one, for `stop` looks at what was made.
        made.extend(capture_samples(session, samples, tiny.model, tiny.processor, loop, stop=stop))
    return made


def test_all_controls_come_before_the_first_session(tmp_path: Path, tiny: Loaded) -> None:
    steps = put_through(tmp_path, tiny, SAMPLES[:3], repeats=2, record_every=2)
    assert roles(tmp_path) == [
        *[("0", "control")] * 6,
        *[("1", "control")] * 2,
        *[("2", "control")] * 2,
        *[("0", "recorded"), ("2", "recorded")] * 2,
    ]
    assert [step.kind for step in steps] == ["controls"] * 3 + ["recorded"] * 4
    assert [r.repeat for r in records(tmp_path) if r.role == "recorded"] == [0, 0, 1, 1]
    assert len({r.tokens_sha256 for r in records(tmp_path) if r.sample_id == "0"}) == 1


def test_the_session_that_nobody_keeps_comes_after_all_controls(
    tmp_path: Path, tiny: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trace_timing.recording.runs.profiler import ScopedSession

    starts: list[int] = []
    real = ScopedSession.start
    runs = tmp_path / "runs.rank0.jsonl"

    def start(session: ScopedSession) -> None:
        starts.append(len(runs.read_bytes().splitlines()))
        real(session)

    monkeypatch.setattr(ScopedSession, "start", start)
    put_through(tmp_path, tiny, SAMPLES[:2], control=1, warm_up=True)
    assert starts == [3, 3, 4]  # records there: three controls, then the first recorded run


def test_interleaved_goes_sample_by_sample(tmp_path: Path, tiny: Loaded) -> None:
    steps = put_through(tmp_path, tiny, SAMPLES[:2], order="interleaved", control=2, repeats=2)
    assert roles(tmp_path) == [
        *[("0", "control")] * 3,
        ("0", "recorded"),
        *[("1", "control")] * 2,
        ("1", "recorded"),
        ("0", "recorded"),
        ("1", "recorded"),
    ]
    assert [step.kind for step in steps] == ["both"] * 4


@pytest.mark.parametrize("order", ["controls-first", "interleaved"])
def test_the_calls_told_beforehand_are_those_made(tmp_path: Path, tiny: Loaded, order: str) -> None:
    samples = [Sample(id=str(i), images=(IMAGE,)) for i in range(11)]
    options = {"order": order, "warm_up": False, "keep": "json", "record_every": 3}
    loop = SampleLoop(max_new_tokens=2, repeats=2)
    with trace_timing.capture(tmp_path, tiny.model, **options) as session:
        count = planned_calls(session, samples, loop)
        list(capture_samples(session, samples, tiny.model, tiny.processor, loop))
    assert (count.samples, count.controls, count.recorded) == (11, 2 * 6 + 9 * 2, 4 * 2)
    assert count.calls == count.most_calls == len(records(tmp_path))
    with trace_timing.capture(tmp_path, tiny.model, resume=True, **options) as session:
        assert planned_calls(session, samples, loop).calls == 0


def test_the_first_warm_up_tells_how_long_a_call_takes(tmp_path: Path, tiny: Loaded) -> None:
    steps = put_through(tmp_path, tiny, SAMPLES[:2], warm_up=True)
    assert [step.kind for step in steps[:2]] == ["warm_up", "controls"]
    took = steps[0].call_ns
    assert took is not None
    assert 10**5 < took < 10**10
    assert [step.call_ns for step in steps[1:]] == [None] * 4


def test_a_capture_cut_short_after_the_controls_has_them_and_a_resume_adds_the_sessions(
    tmp_path: Path, tiny: Loaded
) -> None:
    put_through(tmp_path, tiny, SAMPLES[:2], control=1, steps=2)
    before = records(tmp_path)
    assert [r.role for r in before] == ["control"] * 3
    steps = put_through(tmp_path, tiny, SAMPLES[:2], control=1, resume=True)
    assert [step.kind for step in steps] == ["there", "there", "recorded", "recorded"]
    assert records(tmp_path)[:3] == before
    assert [r.role for r in records(tmp_path)[3:]] == ["recorded"] * 2


def test_a_resumed_process_makes_its_own_controls_before_its_sessions(
    tmp_path: Path, tiny: Loaded
) -> None:
    put_through(tmp_path, tiny, SAMPLES[:4], control=1, steps=2)
    put_through(tmp_path, tiny, SAMPLES[:4], control=1, resume=True)
    added = records(tmp_path)[3:]
    assert [r.role for r in added] == ["control"] * 2 + ["recorded"] * 4
    assert [r.ordinal for r in added] == list(range(6))


def test_a_sample_with_too_few_controls_gets_all_of_them_anew(tmp_path: Path, tiny: Loaded) -> None:
    put_through(tmp_path, tiny, SAMPLES[:2], control=3, steps=2)
    runs = tmp_path / "runs.rank0.jsonl"
    runs.write_bytes(b"".join(runs.read_bytes().splitlines(keepends=True)[:-1]))
    put_through(tmp_path, tiny, SAMPLES[:2], control=3, resume=True)
    found = [r.control.index for r in records(tmp_path) if r.sample_id == "1" and r.control]
    assert found == [0, 1, 2]


@pytest.mark.parametrize("order", ["controls-first", "interleaved"])
def test_a_bad_sample_fails_alone_and_is_tried_again_on_resume(
    tmp_path: Path, tiny: Loaded, order: str
) -> None:
    late = tmp_path / "late.png"
    samples = [Sample(id="bad", images=(str(late),)), SAMPLES[0]]
    folder = tmp_path / "traces"
    put_through(folder, tiny, samples, order=order, control=1)
    by_sample = {s: {r.status for r in records(folder) if r.sample_id == s} for s in ("bad", "0")}
    assert by_sample == {"bad": {"failed"}, "0": {"ok"}}
    assert all("late.png" in (r.reason or "") for r in records(folder) if r.status == "failed")
    rejected = trace_timing.analyze(folder).rejections
    assert [r.source for r in rejected] == ["bad"]
    IMAGE.save(late)
    put_through(folder, tiny, samples, order=order, control=1, resume=True)
    assert {r.status for r in records(folder)} == {"ok"}
    assert len(records(folder)) == 2 + 1 + 2  # the first of ten has a bare control more


def test_a_full_disk_stops_the_loop_with_everything_before_it_intact(
    tmp_path: Path, tiny: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, writes = os.write, []

    def full_after_three(descriptor: int, data: Any) -> int:
        writes.append(1)
        if len(writes) > 3:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr("trace_timing.recording.storage.directory.os.write", full_after_three)
    with pytest.raises(StorageError, match="the disk is full"):
        put_through(tmp_path, tiny, SAMPLES, control=1)
    monkeypatch.undo()
    assert len({r.sample_id for r in records(tmp_path)}) == 3
    put_through(tmp_path, tiny, SAMPLES, control=1, resume=True)
    assert [r.sample_id for r in records(tmp_path) if r.role == "recorded"] == list("012345")
