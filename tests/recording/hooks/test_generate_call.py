"""Every way of generating: what changes in the stages, and what must not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.recording.models import TEXT, VERSION, Tiny, _make, blip_2, llama, llava, qwen2_vl  # noqa: E402
from tests.recording.recorder import Recorder, steps, without_vision  # noqa: E402
from trace_timing.errors import CaptureError  # noqa: E402
from trace_timing.recording.hooks.attach import Attachment, attach  # noqa: E402
from trace_timing.recording.hooks.events import GenerationFacts  # noqa: E402
from trace_timing.recording.model.locate import resolve  # noqa: E402

pytestmark = pytest.mark.capture
TOKENS = 4


def record(tiny: Tiny, **options: Any) -> tuple[Recorder, GenerationFacts]:
    """Ranges of one generate(), whose tokens are those without ranges."""
    tokens = options.pop("tokens", TOKENS)
    torch.manual_seed(7)
    expected = tiny.generate(tokens, **options)
    recorder = Recorder()
    torch.manual_seed(7)
    with attach(resolve(tiny.model), lambda: recorder) as attachment:
        got = tiny.generate(tokens, **options)
    assert torch.equal(got, expected)
    assert recorder.open == []
    assert attachment.last is not None
    return recorder, attachment.last


def own_loop(attachment: Attachment, call: Callable[[], Any]) -> None:
    """Two calls in one range."""
    with attachment.generate_range():
        call()
        call()


def batched(tiny: Tiny, size: int) -> Tiny:
    return Tiny(tiny.model, {k: torch.cat([v] * size) for k, v in tiny.inputs.items()})


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, 1),
        ({"do_sample": True, "top_k": 5}, 1),
        ({"do_sample": True, "num_return_sequences": 3}, 3),
        ({"num_beams": 3}, 1),
        ({"num_beams": 3, "num_return_sequences": 2}, 2),
        ({"num_beams": 2, "do_sample": True}, 1),
        ({"cache_implementation": "static"}, 1),
        ({"use_cache": False}, 1),
        ({"repetition_penalty": 1.2}, 1),
        ({"tokens": 1}, 1),
    ],
    ids=str,
)
def test_stages_are_the_same_whatever_chooses_the_tokens(
    options: dict[str, Any], rows: int
) -> None:
    recorder, facts = record(llava(), **options)
    tokens = options.get("tokens", TOKENS)
    own = [name for name in recorder.below("generate") if name != "vision"]
    assert own == steps(tokens)
    assert recorder.count("vision") >= 1
    assert (facts.prefills, facts.decode_steps, facts.sequences) == (1, tokens - 1, rows)


def test_a_batch_is_one_run_of_several_rows() -> None:
    recorder, facts = record(batched(llava(), 3))
    assert without_vision(recorder.below("generate")) == steps(TOKENS)
    assert recorder.count("vision") == 1
    assert facts.sequences == 3


def test_rows_are_counted_in_an_output_of_fields_too() -> None:
    tiny = batched(llava(), 2)
    with attach(resolve(tiny.model), Recorder) as attachment:
        output = tiny.generate(return_dict_in_generate=True, output_scores=True)
    assert attachment.last is not None
    assert attachment.last.sequences == output.sequences.shape[0] == 2


@pytest.mark.parametrize("build", [llava, llama])
def test_a_prefill_in_chunks_is_one_prefill(build: Any) -> None:
    tiny = build()
    if build is llava and VERSION < (5, 18):
        pytest.skip("images cannot be prefilled in chunks before transformers 5.18")
    recorder, facts = record(tiny, prefill_chunk_size=2)
    assert [name for name in recorder.below("generate") if name != "vision"] == steps(TOKENS)
    assert (facts.prefills, facts.decode_steps) == (1, TOKENS - 1)


def test_an_assistant_s_forwards_are_drafts_and_not_steps() -> None:
    tiny = llama()
    small = {**TEXT, "num_hidden_layers": 1}
    assistant = _make("LlamaForCausalLM", **small)
    assistant.generation_config.num_assistant_tokens = 2
    recorder, facts = record(tiny, assistant_model=assistant, tokens=8)
    assert recorder.count("prefill") == facts.prefills == 1
    assert recorder.count("decode") == facts.decode_steps <= 7
    assert recorder.count("draft") == facts.drafts >= facts.forwards - 1
    # At its last token there is nothing left to draft.
    assert facts.draft_forwards >= facts.drafts - 1
    assert "forward" not in vars(assistant)
    for name, inside in recorder.ranges:
        assert "draft" not in inside, name


def test_a_model_that_assists_itself_takes_fewer_steps_than_tokens() -> None:
    tiny = llama()
    twin = llama().model
    twin.generation_config.num_assistant_tokens = 3
    twin.generation_config.assistant_confidence_threshold = 0.0
    recorder, facts = record(tiny, assistant_model=twin, tokens=9)
    assert facts.decode_steps < 8
    assert recorder.count("decode") == facts.decode_steps


def test_prompt_lookup_drafts_without_a_forward() -> None:
    tiny = llama()
    tiny.inputs["input_ids"] = torch.tensor([[7, 8, 9, 7, 8, 9, 7, 8, 9]])
    recorder, facts = record(tiny, prompt_lookup_num_tokens=2, eos_token_id=63, tokens=6)
    assert facts.drafts == recorder.count("draft") >= 1
    assert facts.draft_forwards == 0
    assert facts.prefills == 1


def test_a_child_that_generates_is_part_of_the_same_run() -> None:
    recorder, facts = record(blip_2())
    assert recorder.count("generate") == 1
    assert facts.forwards == TOKENS


def test_continuous_batching_is_refused_with_a_reason() -> None:
    tiny = llama()
    if not hasattr(tiny.model, "generate_batch"):
        pytest.skip("this transformers has no continuous batching")
    recorder = Recorder()
    with (
        attach(resolve(tiny.model), lambda: recorder),
        pytest.raises(CaptureError, match="continuous batching") as error,
    ):
        tiny.model.generate_batch([[1, 7, 8]])
    assert "prefill and decode" in error.value.why
    assert recorder.names() == []


def test_continuous_batching_is_left_alone_without_a_sink() -> None:
    tiny = llama()
    if not hasattr(tiny.model, "generate_batch"):
        pytest.skip("this transformers has no continuous batching")
    seen = []
    tiny.model.generate_batch = seen.append
    with attach(resolve(tiny.model), lambda: None):
        tiny.model.generate_batch("requests")
    assert seen == ["requests"]


def test_a_generate_in_a_thread_is_recorded_on_that_thread() -> None:
    import threading

    tiny = llava()
    recorder = Recorder()
    with attach(resolve(tiny.model), lambda: recorder):
        thread = threading.Thread(target=tiny.generate)
        thread.start()
        thread.join()
    assert without_vision(recorder.below("generate")) == steps(TOKENS)
    assert recorder.count("generate") == 1


def test_an_own_loop_has_a_prefill_and_decode_steps() -> None:
    tiny = qwen2_vl()
    recorder = Recorder()
    with torch.no_grad(), attach(resolve(tiny.model), lambda: recorder) as attachment:
        with attachment.generate_range():
            output = tiny.model(**tiny.inputs, use_cache=True)
            for _ in range(3):
                token = output.logits[:, -1:].argmax(-1)
                cache = output.past_key_values
                output = tiny.model.forward(input_ids=token, past_key_values=cache)
        tiny.model(**tiny.inputs)
    assert recorder.below("generate") == steps(4)
    assert recorder.below("generate", "prefill") == ["vision"]
    assert attachment.last is not None
    assert attachment.last.forwards == 4


def test_an_own_loop_may_call_the_language_model_itself() -> None:
    tiny = llava()
    recorder = Recorder()
    stages = resolve(tiny.model)
    language = tiny.model.get_submodule(stages.language_model[0])
    with torch.no_grad(), attach(stages, lambda: recorder) as attachment:
        own_loop(attachment, lambda: language(input_ids=torch.tensor([[1, 7, 8]])))
    assert recorder.below("generate") == steps(2)


def test_generate_twice_in_an_own_loop_prefills_twice() -> None:
    tiny = llama()
    recorder = Recorder()
    with attach(resolve(tiny.model), lambda: recorder) as attachment:
        own_loop(attachment, lambda: tiny.generate(2))
    assert recorder.below("generate") == [
        "prefill", "sampling[0]", "decode[1]", "sampling[1]",
        "prefill", "sampling[2]", "decode[3]", "sampling[3]",
    ]  # fmt: skip
    assert attachment.last is not None
    assert attachment.last.prefills == 2
