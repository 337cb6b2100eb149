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

from tests.paths import REPOSITORY

pytest.importorskip("torch")
import torch
from PIL import Image

import trace_timing
from tests.recording.profiling.test_switch import FakeSwitch
from trace_timing.api.capture import capture
from trace_timing.errors import UsageError
from trace_timing.recording.model.loading import Loaded, ModelChoice, load
from trace_timing.recording.profiling.machine_state import resident_bytes
from trace_timing.recording.samples import Sample, prepare
from trace_timing.recording.storage.directory import read_records
from trace_timing.records.manifest import Manifest, decode_manifest
from trace_timing.records.runs import RunRecord
from trace_timing.trace.files.store import read_store
from trace_timing.trace.kineto.reader import read_trace

pytestmark = pytest.mark.capture
SAMPLE = Sample(id="x", images=(Image.new("RGB", (30, 20), "red"),), prompt="what is this")


@pytest.fixture(scope="module")
def tiny() -> Loaded:
    return load(ModelChoice(name="tiny-llava", device="cpu"))


@pytest.fixture(scope="module")
def inputs(tiny: Loaded) -> dict[str, Any]:
    return {**prepare(SAMPLE, tiny.processor, tiny.model).inputs, "max_new_tokens": 4}


def records(folder: Path) -> list[RunRecord]:
    return read_records(folder / "runs.rank0.jsonl")


def manifest_of(folder: Path) -> Manifest:
    return decode_manifest((folder / "manifest.json").read_bytes(), source="manifest")


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
    profiled = next(r for r in records(tmp_path) if r.role == "recorded")
    control = next(r.control for r in records(tmp_path) if r.control)
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
    first, second = (r for r in records(tmp_path) if r.role == "recorded")
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
    assert [r.role for r in records(tmp_path)] == ["control"] * 6 + ["recorded"]


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


def test_a_users_loop_is_controls_then_a_recorded_run_sample_by_sample(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with trace_timing.capture(tmp_path, tiny.model, warm_up=False, record_every=2) as session:
        for name in "abc":
            session.generate(name, **inputs)
    found = [(r.sample_id, r.role) for r in records(tmp_path)]
    assert found == [
        *[("a", "control")] * 6,  # five, and one without hooks: it is the first of ten
        ("a", "recorded"),
        *[("b", "control")] * 2,
        *[("c", "control")] * 2,
        ("c", "recorded"),
    ]
    assert {r.control.cupti for r in records(tmp_path) if r.control} == {"never"}
    settings = manifest_of(tmp_path).settings
    assert (settings["order"], settings["control"], settings["record_every"]) == (
        "interleaved",
        None,
        2,
    )
    assert settings["detach"]["why_not"] == "there is no NVIDIA GPU, so CUPTI is not used"


def test_a_users_loop_cannot_make_all_controls_first(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with (
        trace_timing.capture(tmp_path, tiny.model, order="controls-first") as session,
        pytest.raises(UsageError, match="order=interleaved"),
    ):
        session.generate("a", **inputs)


def test_a_precision_takes_more_controls_until_it_is_reached(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    options = {"control": 2, "record_every": 100, "precision": "60%", "most_controls": 8}
    with trace_timing.capture(tmp_path, tiny.model, **options) as session:
        for i in range(6):
            session.generate(f"s{i}", **inputs)
    numbers = [
        sum(r.sample_id == f"s{i}" and r.control is not None for r in records(tmp_path))
        for i in range(6)
    ]
    assert numbers[0] == 8 + 1  # nothing is known of the spread yet
    assert all(2 <= number <= 8 for number in numbers[1:])
    assert manifest_of(tmp_path).settings["precision"] == 0.6


def experiment_of(tiny: Loaded, inputs: dict[str, Any], calls: list[int]) -> Any:
    """A loop that calls the model its own way."""

    def experiment(number: int) -> torch.Tensor:
        calls.append(number)
        ids = inputs["input_ids"]
        for _ in range(3):
            scores = tiny.model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits
            ids = torch.cat([ids, scores[:, -1:].argmax(-1)], dim=1)
        return ids

    return experiment


def test_calls_that_must_not_be_repeated_are_controls_and_recorded_in_turn(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    calls: list[int] = []
    with trace_timing.capture(tmp_path, tiny.model) as session:
        wrapped = session.wrap(
            experiment_of(tiny, inputs, calls), sample_id=lambda number: f"n{number // 2}"
        )
        outputs = [wrapped(number) for number in range(4)]
    assert calls == [0, 1, 2, 3]
    found = records(tmp_path)
    assert [(r.sample_id, r.role, r.repeat, r.status) for r in found] == [
        ("n0", "control", 0, "ok"),
        ("n0", "recorded", 1, "ok"),
        ("n1", "control", 0, "ok"),
        ("n1", "recorded", 1, "ok"),
    ]
    first = found[0].control
    assert first is not None
    assert sum(s.duration_ns for s in first.segments) == first.total_ns > 0
    ranges = ranges_of(tmp_path, found[1].trace or "")
    assert [ranges.count(n) for n in ("generate", "prefill", "decode[1]", "decode[2]")] == [1] * 4
    assert outputs[0].shape[1] == inputs["input_ids"].shape[1] + 3


def test_a_wrapped_loop_that_may_be_repeated_has_its_controls(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    calls: list[int] = []
    with trace_timing.capture(tmp_path, tiny.model, control=2, warm_up=False) as session:
        wrapped = session.wrap(experiment_of(tiny, inputs, calls), repeatable=True)
        wrapped(5)
    assert calls == [5] * 4
    found = records(tmp_path)
    assert [r.role for r in found] == ["control"] * 3 + ["recorded"]
    # Its output begins with the prompt, which its first forward had.
    assert {r.tokens_in for r in found} == {inputs["input_ids"].shape[1]}
    assert {r.tokens_out for r in found} == {3}


def test_a_warm_up_makes_at_most_16_tokens_and_controls_make_all(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    generate = tiny.model.generate

    def counted(*args: Any, **kwargs: Any) -> Any:
        output = generate(*args, **kwargs)
        lengths.append(output.shape[1] - inputs["input_ids"].shape[1])
        return output

    monkeypatch.setattr(tiny.model, "generate", counted)
    long = {**inputs, "max_new_tokens": 20, "min_new_tokens": 20}
    with trace_timing.capture(tmp_path, tiny.model, control=2, record_every=9) as session:
        session.generate("a", **long)
        warmed = len(lengths)
        session.generate("b", **long)
    assert lengths[0] == 16
    assert 2 + 1 <= lengths[:warmed].count(16) <= 5 + 1  # and the session that nobody keeps
    # One more where the first control's steps beyond the warm-up's were slow, by this machine's
    # other work.
    assert lengths[:warmed].count(20) in (3 + 1, 3 + 1 + 1)
    assert lengths[warmed:] == [20] * 3  # an unmeasured one after the stored trace
    warm_ups = [r.machine["warm_up"] for r in records(tmp_path) if "warm_up" in r.machine]
    assert len(warm_ups) == 1
    assert warm_ups[0]["runs"] == lengths[:warmed].count(16) - 1


def test_the_same_id_again_is_its_next_repeat_and_a_resume_records_none_twice(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    def loop(repeats: int, *, resume: bool) -> list[torch.Tensor]:
        options = {"warm_up": False, "control": 1, "resume": resume}
        with trace_timing.capture(tmp_path, tiny.model, **options) as session:
            return [session.generate("a", **inputs) for _ in range(repeats)]

    first = loop(2, resume=False)
    again = loop(3, resume=True)
    assert len(again) == 3
    assert torch.equal(again[0], first[0])
    assert [(r.role, r.repeat) for r in records(tmp_path)] == [
        ("control", 0),
        ("control", 0),
        ("recorded", 0),
        ("recorded", 1),
        ("recorded", 2),
    ]


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


@pytest.mark.parametrize("name", ["device", "torch"])
def test_a_resume_on_another_machine_is_refused(tmp_path: Path, tiny: Loaded, name: str) -> None:
    """Its rows would say that they are of the machine that the manifest speaks of."""
    with trace_timing.capture(tmp_path, tiny.model):
        pass
    told = json.loads((tmp_path / "manifest.json").read_text())
    if name == "device":
        told["environment"]["devices"] = [{"name": "NVIDIA H200"}]
    else:
        told["environment"]["packages"]["torch"] = "2.4.0"
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    with (
        pytest.raises(UsageError, match=f"another {name}") as refused,
        trace_timing.capture(tmp_path, tiny.model, resume=True),
    ):
        pass
    assert ("NVIDIA H200" if name == "device" else "2.4.0") + " then" in str(refused.value)


def test_the_manifest_says_what_the_distance_to_the_limit_needs(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    with trace_timing.capture(tmp_path, tiny.model) as session:
        session.generate("a", **inputs)
    manifest = manifest_of(tmp_path)
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


def test_memory_stays_flat(tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]) -> None:
    with trace_timing.capture(tmp_path, tiny.model, warm_up=False, control=0) as session:
        for i in range(30):
            session.generate(f"warm {i}", **inputs)
        before = resident_bytes()
        for i in range(70):
            session.generate(f"s{i}", **inputs)
        grown = (resident_bytes() or 0) - (before or 0)
    assert grown < 16 << 20


def _identity(record: RunRecord) -> tuple[str, str, int, int, int]:
    """What makes a run the same run after a resume."""
    index = record.control.index if record.control else 0
    return record.sample_id, record.role, record.repeat, record.rank, index


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
    expected = sorted(map(_identity, records(tmp_path / "whole")))
    assert sorted(map(_identity, found)) == expected
    # Of 12 samples two have five controls and a bare one; each has one recorded run.
    assert len(expected) == 10 * 2 + 2 * 6 + 12
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
    profiled = next(r for r in records(tmp_path) if r.role == "recorded")
    found = ranges_of(tmp_path, profiled.trace or "")
    # Two layers of language and 4 forwards; three of vision and 1.
    assert found.count("component:attention[0]") == 4 + 1
    assert found.count("component:mlp[1]") == 4 + 1
    assert found.count("component:attention[2]") == 1
    assert found.count("component:head") == 4
    assert [n for n in found if n.startswith("decode")] == ["decode[1]", "decode[2]", "decode[3]"]
    names = {f.__qualname__ for m in tiny.model.modules() for f in m._forward_hooks.values()}
    assert not [name for name in names if name.startswith("_hook")]  # transformers has its own


def test_a_long_generation_is_recorded_in_stretches(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = FakeSwitch()
    monkeypatch.setattr(capture, "switch_of_process", lambda: (switch, None))
    long = {**inputs, "max_new_tokens": 60, "min_new_tokens": 60}
    options: dict[str, Any] = {"record_steps": 8, "control": 1, "warm_up": False}
    with trace_timing.capture(tmp_path / "out", tiny.model, **options) as session:
        session.generate("long", **long)
    assert switch.told == ["off", "on"]
    (record,) = [r for r in records(tmp_path / "out") if r.role == "recorded"]
    assert record.machine["session"]["steps"] == {"expected": 59, "stretches": [[1, 4], [56, 59]]}
    assert manifest_of(tmp_path / "out").settings["record_steps"] == 8
    names = ranges_of(tmp_path / "out", record.trace or "")
    assert {f"decode[{n}]" for n in range(1, 60)} <= set(names)
    assert (names.count("recording_off"), names.count("recording_guard")) == (1, 1)


def test_where_nothing_can_be_switched_every_step_is_recorded_and_that_is_told(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any]
) -> None:
    long = {**inputs, "max_new_tokens": 64, "min_new_tokens": 64}
    with trace_timing.capture(tmp_path / "out", tiny.model, warm_up=False, control=1) as session:
        session.generate("long", **long)
        (line,) = session.notes()
    assert line.startswith("every decode step of 1 run was recorded: ")
    (record,) = [r for r in records(tmp_path / "out") if r.role == "recorded"]
    assert record.machine["session"]["steps"]["all"] is True


def test_parts_of_layers_have_no_ranges_in_a_gap(
    tmp_path: Path, tiny: Loaded, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "switch_of_process", lambda: (FakeSwitch(), None))
    long = {**inputs, "max_new_tokens": 41, "min_new_tokens": 41}
    options: dict[str, Any] = {"record_steps": 2, "control": 1, "warm_up": False}
    with trace_timing.capture(
        tmp_path / "out", tiny.model, detail="components", **options
    ) as session:
        session.generate("long", **long)
    (record,) = [r for r in records(tmp_path / "out") if r.role == "recorded"]
    names = ranges_of(tmp_path / "out", record.trace or "")
    parts = [name for name in names if name.startswith("component:attention[0]")]
    # The vision encoder's, prefill's, those of steps 1 and 40 and of the guard step before that.
    assert len(parts) == 5


def test_no_steps_to_record_is_refused(tmp_path: Path, tiny: Loaded) -> None:
    with (
        pytest.raises(UsageError, match="record_steps is 0"),
        trace_timing.capture(tmp_path / "out", tiny.model, record_steps=0),
    ):
        pass


@pytest.mark.parametrize(
    ("thing", "remedy"),
    [("a/model", "--model a/model"), (3, "from_pretrained"), (object(), "from_pretrained")],
)
def test_what_is_no_module_is_refused_before_anything_is_made(
    tmp_path: Path, thing: object, remedy: str
) -> None:
    with (
        pytest.raises(UsageError, match=r"no torch\.nn\.Module but a") as caught,
        trace_timing.capture(tmp_path / "out", thing),
    ):
        raise AssertionError("it was let in")
    assert remedy in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_a_misspelt_option_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="no option record_step") as caught,
        trace_timing.capture(tmp_path / "out", torch.nn.Linear(1, 1), record_step=3),
    ):
        raise AssertionError("it was let in")
    assert "did you mean record_steps?" in caught.value.remedy
