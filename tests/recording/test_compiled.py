"""Compiled models: the same stages, and torch.compile does not see that anything is attached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.recording.models import Tiny, llama, llava  # noqa: E402
from tests.recording.recorder import Recorder, steps  # noqa: E402
from trace_timing.recording.hooks.attach import attach  # noqa: E402
from trace_timing.recording.model.locate import resolve  # noqa: E402

pytestmark = [pytest.mark.capture, pytest.mark.slow]
TOKENS = 4


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def counts() -> dict[str, int]:
    """Graphs compiled and graph breaks since the counters were cleared."""
    counters = torch._dynamo.utils.counters
    breaks = sum(counters["graph_break"].values())
    return {"graphs": counters["stats"]["unique_graphs"], "breaks": breaks}


def compiled_decode() -> dict[str, Any]:
    """Options of generate() that compile the decode step, also on a CPU."""
    from transformers import CompileConfig

    config = CompileConfig(backend="eager", fullgraph=True, mode=None)
    config._compile_all_devices = True
    return {"cache_implementation": "static", "compile_config": config}


def record(tiny: Tiny, **options: Any) -> Recorder:
    recorder = Recorder()
    with attach(resolve(tiny.model), lambda: recorder):
        tiny.generate(TOKENS, **options)
    assert recorder.open == []
    return recorder


@pytest.mark.parametrize("build", [llama, llava])
def test_compiled_decode_attached_first_compiles_what_it_does_without(build: Any) -> None:
    plain, attached = build(), build()
    expected = plain.generate(TOKENS, **compiled_decode())
    alone = counts()
    assert alone["graphs"] > 0
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    recorder = Recorder()
    with attach(resolve(attached.model), lambda: recorder):
        tokens = attached.generate(TOKENS, **compiled_decode())
    assert torch.equal(tokens, expected)
    assert counts() == alone
    assert [name for name in recorder.below("generate") if name != "vision"] == steps(TOKENS)


def test_compiled_decode_is_not_compiled_again_by_attaching_and_detaching() -> None:
    tiny = llava()
    options = compiled_decode()
    tiny.generate(TOKENS, **options)
    tiny.generate(TOKENS, **options)
    before = counts()
    for _ in range(2):
        recorder = record(tiny, **options)
        tiny.generate(TOKENS, **options)
    assert counts() == before
    assert recorder.count("decode") == TOKENS - 1


def test_a_model_compiled_in_place_keeps_its_graphs_and_shows_its_steps() -> None:
    tiny = llama()
    tiny.model.compile(backend="eager", dynamic=True)
    expected = tiny.generate(TOKENS)
    tiny.generate(TOKENS)
    before = counts()
    recorder = Recorder()
    with attach(resolve(tiny.model), lambda: recorder):
        assert torch.equal(tiny.generate(TOKENS), expected)
    tiny.generate(TOKENS)
    assert counts() == before
    assert recorder.below("generate") == steps(TOKENS)


def test_a_compiled_wrapper_is_looked_through() -> None:
    tiny = llava()
    compiled = torch.compile(tiny.model, backend="eager")
    recorder = Recorder()
    stages = resolve(compiled)
    assert stages.model is tiny.model
    with attach(stages, lambda: recorder):
        Tiny(compiled, tiny.inputs).generate(TOKENS)
    assert [name for name in recorder.below("generate") if name != "vision"] == steps(TOKENS)


def test_a_compiled_vision_tower_still_makes_a_range() -> None:
    tiny = llava()
    tower = tiny.model.get_submodule(resolve(tiny.model).vision_encoder[0])
    tower.compile(backend="eager")
    tiny.generate(2)
    before = counts()
    recorder = record(tiny)
    assert recorder.count("vision_encoder") == recorder.count("vision") == 1
    assert counts() == before


def test_a_compiled_part_in_the_place_of_a_module_is_found_and_makes_a_range() -> None:
    tiny = llava()
    name = resolve(tiny.model).vision_encoder[0]
    parent, _, child = name.rpartition(".")
    tower = tiny.model.get_submodule(name)
    setattr(tiny.model.get_submodule(parent), child, torch.compile(tower, backend="eager"))
    recorder = record(tiny)
    assert recorder.count("vision_encoder") == recorder.count("vision") == 1
