"""Every family of models reports the same stages, with the same tokens, and nothing stays on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.recording.models import (  # noqa: E402
    TEXT_MODELS,
    VISION_MODELS,
    VOCABULARY,
    Tiny,
    bart,
    llava,
    t5,
)
from tests.recording.molmo import MOLMO_MODELS  # noqa: E402
from tests.recording.recorder import Recorder, fingerprint, steps, without_vision  # noqa: E402
from trace_timing.recording.hooks.attach import attach  # noqa: E402
from trace_timing.recording.model.locate import resolve  # noqa: E402

pytestmark = pytest.mark.capture
TOKENS = 4
WITH_VISION = (*VISION_MODELS, *MOLMO_MODELS)


def by_name(build: Callable[[], Tiny]) -> str:
    return build.__name__


@pytest.mark.parametrize("build", WITH_VISION, ids=by_name)
def test_a_family_has_one_vision_one_prefill_and_a_decode_step_per_further_token(
    build: Callable[[], Tiny],
) -> None:
    tiny = build()
    expected = tiny.generate(TOKENS)
    recorder = Recorder()
    before = fingerprint(tiny.model)
    with attach(resolve(tiny.model), lambda: recorder) as attachment:
        tokens = tiny.generate(TOKENS)
    assert torch.equal(tokens, expected)
    assert recorder.open == []
    in_generate = recorder.below("generate")
    assert [name for name in in_generate if name not in ("vision", "text_encoder")] == steps(TOKENS)
    assert recorder.count("vision") == 1
    assert recorder.count("vision_encoder") == 1
    assert recorder.count("projector") >= 1
    for name, inside in recorder.ranges:
        assert name not in ("vision_encoder", "projector") or "vision" in inside
    facts = attachment.last
    assert facts is not None
    assert (facts.prefills, facts.decode_steps, facts.visions) == (1, TOKENS - 1, 1)
    assert facts.sequences == 1
    assert fingerprint(tiny.model) == before


@pytest.mark.parametrize("build", TEXT_MODELS, ids=by_name)
def test_a_model_of_text_alone_has_no_vision(build: Callable[[], Tiny]) -> None:
    tiny = build()
    expected = tiny.generate(TOKENS)
    recorder = Recorder()
    stages = resolve(tiny.model)
    with attach(stages, lambda: recorder):
        tokens = tiny.generate(TOKENS)
    assert torch.equal(tokens, expected)
    encodes = ["text_encoder"] if build in (t5, bart) else []
    assert recorder.below("generate") == [*encodes, *steps(TOKENS)]
    assert stages.vision == stages.vision_encoder == stages.projector == ()


@pytest.mark.parametrize("build", [*WITH_VISION, *TEXT_MODELS], ids=by_name)
def test_an_exception_closes_every_range_and_leaves_the_model_as_it_was(
    build: Callable[[], Tiny],
) -> None:
    tiny = build()
    tiny.generate(1)
    before = fingerprint(tiny.model)
    recorder = Recorder()
    calls = 0

    def fail_at_the_third_call(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyError("mine")

    handle = _head(tiny.model).register_forward_hook(fail_at_the_third_call)
    with (
        pytest.raises(KeyError, match="mine"),
        attach(resolve(tiny.model), lambda: recorder),
    ):
        tiny.generate(6)
    handle.remove()
    assert recorder.open == []
    assert recorder.names()[-1] == "decode[2]"
    assert fingerprint(tiny.model) == before


def _head(model: torch.nn.Module) -> torch.nn.Module:
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    return next(m for m in reversed(linear) if m.out_features == VOCABULARY)


def test_vision_that_throws_closes_its_ranges() -> None:
    tiny = llava()
    recorder = Recorder()
    tiny.inputs["pixel_values"] = torch.zeros(1, 3, 5, 5)
    with attach(resolve(tiny.model), lambda: recorder), pytest.raises(ValueError, match="size"):
        tiny.generate()
    assert recorder.open == []
    assert without_vision(recorder.names())[0] == "generate"
    assert recorder.names()[-2:] == ["vision", "vision_encoder"]


def test_without_a_sink_nothing_is_told_and_tokens_are_the_same() -> None:
    tiny = llava()
    expected = tiny.generate()
    asked = []
    with attach(resolve(tiny.model), lambda: asked.append(1)) as attachment:
        assert torch.equal(tiny.generate(), expected)
    assert len(asked) == 1
    assert attachment.last is None


def test_each_generate_goes_to_the_sink_of_its_time() -> None:
    tiny = llava()
    sinks = [Recorder(), None, Recorder()]
    queue = iter(sinks)
    with attach(resolve(tiny.model), lambda: next(queue)):
        for _ in sinks:
            tiny.generate(2)
    told = [sink and without_vision(sink.names()) for sink in sinks]
    assert told == [["generate", *steps(2)], None, ["generate", *steps(2)]]


def test_detaching_twice_and_attaching_again_leaves_the_model_as_it_was() -> None:
    tiny = llava()
    tiny.generate(1)
    before = fingerprint(tiny.model)
    for _ in range(2):
        attachment = attach(resolve(tiny.model), lambda: None)
        assert fingerprint(tiny.model) != before
        attachment.detach()
        attachment.detach()
    assert fingerprint(tiny.model) == before


def test_a_wrapper_that_was_there_before_is_there_again() -> None:
    tiny = llava()
    forward = tiny.model.forward

    def of_another_library(*args: object, **kwargs: object) -> object:
        return forward(*args, **kwargs)

    tiny.model.forward = of_another_library
    with attach(resolve(tiny.model), lambda: None):
        assert tiny.model.forward is not of_another_library
    assert tiny.model.forward is of_another_library
