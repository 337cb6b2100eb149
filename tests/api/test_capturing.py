"""capture() around a user's own loop, on the tiny model: outputs untouched, every run recorded."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from PIL import Image

import trace_timing
from trace_timing.api.sample_loop import SampleLoop, capture_samples
from trace_timing.errors import UsageError
from trace_timing.recording.files import StorageError, read_records
from trace_timing.recording.inputs import Sample, prepare
from trace_timing.recording.machine import resident_bytes
from trace_timing.recording.models import Loaded, ModelChoice, load
from trace_timing.records import Manifest, RunRecord, decode
from trace_timing.trace.kineto import read_trace
from trace_timing.trace.store import read_store

pytestmark = pytest.mark.capture
REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = Sample(id="x", images=(Image.new("RGB", (30, 20), "red"),), prompt="what is this")


@pytest.fixture(scope="module")
def tiny() -> Loaded:
    return load(ModelChoice(name="tiny-llava", device="cpu"))


@pytest.fixture(scope="module")
def inputs(tiny: Loaded) -> dict[str, Any]:
    return {**prepare(SAMPLE, tiny.processor, tiny.model).inputs, "max_new_tokens": 4}


def records(folder: Path) -> list[RunRecord]:
    return read_records(folder / "runs.rank0.jsonl")


def ranges_of(folder: Path, name: str) -> list[str]:
    text = gzip.decompress((folder / "traces" / f"{name}.json.gz").read_bytes())
    events = json.loads(text)["traceEvents"]
    return [e["name"] for e in events if e.get("cat") == "user_annotation"]


def test_a_users_loop_gets_its_own_outputs_and_a_whole_capture(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    plain = tiny.model.generate(**inputs)
    with trace_timing.capture(tmp_path, tiny.model) as session:
        output = session.generate("a", meta={"tier": "easy"}, **inputs)
    assert torch.equal(output, plain)
    profiled = next(r for r in records(tmp_path) if r.role == "profiled")
    control = next(
        r.control for r in records(tmp_path) if r.control and not r.control.before_profiling
    )
    assert profiled.metadata["tier"] == "easy"
    assert profiled.metadata["n_vision_tokens"] == 16
    assert (profiled.tokens_in, profiled.tokens_out) == (20, 4)
    assert sum(s.duration_ns for s in control.segments) == control.total_ns > 0
    found = ranges_of(tmp_path, profiled.trace or "")
    assert [found.count(n) for n in ("generate", "prefill", "vision_encoder", "projector")] == [
        1
    ] * 4
    assert [n for n in found if n.startswith("decode")] == ["decode[1]", "decode[2]", "decode[3]"]
    stages = {(s.stage, s.step) for s in control.segments}
    assert {("decode", 1), ("decode", 3), ("vision_encoder", None), ("prefill", None)} <= stages


def test_sampled_tokens_are_those_of_a_loop_without_capture(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    sampled = {**inputs, "do_sample": True}
    torch.manual_seed(3)
    plain = [tiny.model.generate(**sampled) for _ in range(2)]
    torch.manual_seed(3)
    with trace_timing.capture(tmp_path, tiny.model) as session:
        outputs = [session.generate(name, **sampled) for name in "ab"]
    assert all(map(torch.equal, outputs, plain))


def test_both_forms_of_a_trace_are_kept_and_read(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with trace_timing.capture(tmp_path, tiny.model, warm_up=False, keep="first:1") as session:
        session.generate("a", **inputs)
        session.generate("b", **inputs)
    first, second = (r for r in records(tmp_path) if r.role == "profiled")
    assert sorted(first.sha256) == ["json.gz", "parquet"]
    assert list(second.sha256) == ["parquet"]
    traces = tmp_path / "traces"
    assert len(read_trace(traces / f"{first.trace}.json.gz").events.start_ns) > 0
    assert len(read_store(traces / f"{second.trace}.parquet").events.start_ns) > 0
    assert len(list(traces.iterdir())) == 3


def test_no_name_of_this_machine_is_written(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with trace_timing.capture(tmp_path, tiny.model, profile="full", keep="json") as session:
        session.generate("a", **inputs)
    texts = [p.read_bytes() for p in tmp_path.glob("*.json*")]
    texts += [gzip.decompress(p.read_bytes()) for p in tmp_path.glob("traces/*.gz")]
    assert len(texts) == 3
    for text in texts:
        assert os.fsencode(tmp_path) not in text
        assert f'"{os.uname().nodename}"'.encode() not in text
        assert os.fsencode(REPOSITORY) not in text


def test_the_model_is_as_it_was_also_when_the_body_raises(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    tiny.model.generate(**inputs)  # transformers notes on modules what their first call found
    before = [sorted(vars(module)) for module in tiny.model.modules()]
    error = ValueError("of the user's")

    def loop() -> None:
        with trace_timing.capture(tmp_path, tiny.model, warm_up=False) as session:
            session.generate("a", **inputs)
            raise error

    with pytest.raises(ValueError, match="of the user's") as caught:
        loop()
    assert caught.value is error
    assert [sorted(vars(module)) for module in tiny.model.modules()] == before
    assert len(records(tmp_path)) == 2


def test_an_exception_in_generate_comes_through_and_is_recorded(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with trace_timing.capture(tmp_path, tiny.model, warm_up=False, control=0) as session:
        with pytest.raises(ValueError, match="kwargs"):
            session.generate("a", **inputs, nonsense=1)
        session.generate("b", **inputs)
    failed, fine = records(tmp_path)
    assert (failed.sample_id, failed.status) == ("a", "failed")
    assert "nonsense" in (failed.reason or "")
    assert (fine.sample_id, fine.status) == ("b", "ok")


def test_a_sample_that_fails_while_warming_up_is_recorded(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with (
        trace_timing.capture(tmp_path, tiny.model) as session,
        pytest.raises(ValueError, match="kwargs"),
    ):
        session.generate("a", **inputs, nonsense=1)
    (failed,) = records(tmp_path)
    assert (failed.sample_id, failed.status) == ("a", "failed")


def test_a_wrapped_loop_of_the_users_own_is_called_once_and_recorded(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    calls = []

    def experiment(number: int) -> torch.Tensor:
        calls.append(number)
        ids = inputs["input_ids"]
        for _ in range(3):
            scores = tiny.model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits
            ids = torch.cat([ids, scores[:, -1:].argmax(-1)], dim=1)
        return ids

    with trace_timing.capture(tmp_path, tiny.model) as session:
        wrapped = session.wrap(experiment, sample_id=lambda number: f"n{number}")
        output = wrapped(5)
    assert calls == [5]
    (record,) = records(tmp_path)
    assert (record.sample_id, record.status) == ("n5", "ok")
    found = ranges_of(tmp_path, record.trace or "")
    assert [found.count(n) for n in ("generate", "prefill", "decode[1]", "decode[2]")] == [1] * 4
    assert output.shape[1] == inputs["input_ids"].shape[1] + 3


def test_the_same_id_again_is_its_next_repeat_and_a_resume_records_none_twice(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    def loop(repeats: int, *, resume: bool) -> list[torch.Tensor]:
        with trace_timing.capture(tmp_path, tiny.model, warm_up=False, resume=resume) as session:
            return [session.generate("a", **inputs) for _ in range(repeats)]

    first = loop(2, resume=False)
    again = loop(3, resume=True)
    assert len(again) == 3
    assert torch.equal(again[0], first[0])
    assert [r.repeat for r in records(tmp_path) if r.role == "profiled"] == [0, 1, 2]
    assert len(records(tmp_path)) == 6


def test_a_resume_with_other_settings_is_refused(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with trace_timing.capture(tmp_path, tiny.model, warm_up=False) as session:
        session.generate("a", **inputs)
    with (
        pytest.raises(UsageError, match="another profile"),
        trace_timing.capture(tmp_path, tiny.model, profile="full", resume=True),
    ):
        pass


def test_the_manifest_says_what_the_distance_to_the_limit_needs(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with trace_timing.capture(tmp_path, tiny.model) as session:
        session.generate("a", **inputs)
    manifest = decode((tmp_path / "manifest.json").read_bytes(), Manifest, source="manifest")
    total = sum(p.numel() for p in tiny.model.parameters())
    assert manifest.model["total"]["parameters"] == total
    assert manifest.model["total"]["bytes"] == 4 * total
    encoder = getattr(tiny.model, "model", tiny.model).vision_tower  # there from 4.52 on
    assert manifest.model["stages"]["vision_encoder"]["parameters"] == sum(
        p.numel() for p in encoder.parameters()
    )
    sizes = manifest.model["text_config"]
    assert (sizes["layers"], sizes["hidden_size"], sizes["kv_heads"]) == (2, 64, 2)
    assert manifest.settings["warm_up"]["totals_ns"]
    assert manifest.settings["sessions"]["findings"] == []
    assert manifest.settings["profiler_backend"] == "private"


def test_the_manifest_holds_the_devices_rates_that_doctor_measured(
    tmp_path: Path, tiny: Loaded
) -> None:
    rates = {"copy_bytes_per_s": 3e12, "matmul_flops_per_s": 7e14, "matmul_dtype": "bfloat16"}
    file = tmp_path / "rates.json"
    file.write_text(json.dumps(rates))
    for name, given in (("of_file", file), ("of_mapping", rates)):
        with trace_timing.capture(tmp_path / name, tiny.model, rates=given):
            pass
        written = json.loads((tmp_path / name / "manifest.json").read_text())
        assert written["rates"] == rates
    file.write_text('{"copy_bytes_per_s": "fast"}')
    with (
        pytest.raises(UsageError, match=r"rates cannot be read \(rates.json\)"),
        trace_timing.capture(tmp_path / "other", tiny.model, rates=file),
    ):
        pass


def test_a_bad_sample_fails_alone(tmp_path: Path, tiny: Loaded) -> None:
    samples = [Sample(id="bad", images=("none.png",)), SAMPLE]
    with trace_timing.capture(tmp_path, tiny.model, warm_up=False) as session:
        steps = list(
            capture_samples(
                session, samples, tiny.model, tiny.processor, SampleLoop(max_new_tokens=2)
            )
        )
    assert [[r.status for r in step.records] for step in steps] == [["failed"], ["ok", "ok"]]
    assert "none.png" in (steps[0].records[0].reason or "")


def test_a_full_disk_stops_the_loop_with_everything_before_it_intact(
    tmp_path: Path, tiny: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [Sample(id=str(i), images=SAMPLE.images) for i in range(6)]
    real, writes = os.write, []

    def full_after_three(descriptor: int, data: Any) -> int:
        writes.append(1)
        if len(writes) > 3:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr("trace_timing.recording.files.os.write", full_after_three)
    with (
        pytest.raises(StorageError, match="the disk is full"),
        trace_timing.capture(tmp_path, tiny.model, warm_up=False) as session,
    ):
        list(capture_samples(session, samples, tiny.model, tiny.processor, SampleLoop()))
    monkeypatch.undo()
    assert len({r.sample_id for r in records(tmp_path)}) == 3
    with trace_timing.capture(tmp_path, tiny.model, warm_up=False, resume=True) as session:
        list(capture_samples(session, samples, tiny.model, tiny.processor, SampleLoop()))
    assert [r.sample_id for r in records(tmp_path) if r.role == "profiled"] == list("012345")


def test_memory_stays_flat(tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]) -> None:
    with trace_timing.capture(tmp_path, tiny.model, warm_up=False, control=0) as session:
        for i in range(30):
            session.generate(f"warm {i}", **inputs)
        before = resident_bytes()
        for i in range(70):
            session.generate(f"s{i}", **inputs)
        grown = (resident_bytes() or 0) - (before or 0)
    assert grown < 16 << 20


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_twenty_kills_and_a_resume_leave_each_run_there_exactly_once(tmp_path: Path) -> None:
    script = REPOSITORY / "tests" / "recording" / "killed_capture.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "20", "1"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    *_, killed, status = done.stdout.split()
    assert int(killed) == 20
    assert status == "0"
    found = records(tmp_path / "killed")
    expected = sorted((r.sample_id, r.role, r.repeat) for r in records(tmp_path / "whole"))
    assert sorted((r.sample_id, r.role, r.repeat) for r in found) == expected
    assert len(expected) == 24
    named = {f"{r.trace}.{ending}" for r in found for ending in r.sha256}
    assert {p.name for p in (tmp_path / "killed" / "traces").iterdir()} == named
    for record in found:
        if record.trace:
            read_trace(tmp_path / "killed" / "traces" / f"{record.trace}.json.gz")
            read_store(tmp_path / "killed" / "traces" / f"{record.trace}.parquet")


def test_component_ranges_lie_in_every_layer_and_leave_the_stages_as_they_were(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with trace_timing.capture(tmp_path, tiny.model, detail="components") as session:
        session.generate("a", **inputs)
    profiled = next(r for r in records(tmp_path) if r.role == "profiled")
    found = ranges_of(tmp_path, profiled.trace or "")
    # Two layers of language and 4 forwards; three of vision and 1.
    assert found.count("component:attention[0]") == 4 + 1
    assert found.count("component:mlp[1]") == 4 + 1
    assert found.count("component:attention[2]") == 1
    assert found.count("component:head") == 4
    assert [n for n in found if n.startswith("decode")] == ["decode[1]", "decode[2]", "decode[3]"]
    names = {f.__qualname__ for m in tiny.model.modules() for f in m._forward_hooks.values()}
    assert not [name for name in names if name.startswith("_hook")]  # transformers has its own
