"""New tokens are counted whatever form the output has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
import torch

from trace_timing.recording.runs.outputs import Tokens, count

pytestmark = pytest.mark.capture
PROMPT = {"input_ids": torch.tensor([[5, 6, 7]])}


def model(*, eos: int | list[int] | None = None, encoder_decoder: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        config=SimpleNamespace(is_encoder_decoder=encoder_decoder),
        generation_config=SimpleNamespace(eos_token_id=eos),
    )


def test_a_decoder_repeats_the_prompt() -> None:
    found = count(torch.tensor([[5, 6, 7, 1, 2]]), PROMPT, model())
    assert (found.tokens_in, found.tokens_out, found.tokens_out_total) == (3, 2, 2)


def test_an_output_without_the_prompt_is_all_new() -> None:
    assert count(torch.tensor([[1, 2]]), PROMPT, model()).tokens_out == 2
    assert count(torch.tensor([[1, 2, 3, 4]]), PROMPT, model()).tokens_out == 4


def test_an_encoder_decoder_begins_with_its_start_token() -> None:
    assert count(torch.tensor([[0, 1, 2]]), PROMPT, model(encoder_decoder=True)).tokens_out == 2


def test_rows_end_at_their_first_end_token() -> None:
    output = torch.tensor([[5, 6, 7, 1, 9, 0], [5, 6, 7, 1, 2, 3], [5, 6, 7, 8, 0, 0]])
    found = count(output, PROMPT, model(eos=[9, 8]))
    assert (found.tokens_out, found.tokens_out_total) == (3, 2 + 3 + 1)


def test_a_model_output_and_its_sequences_count_alike() -> None:
    ids = torch.tensor([[5, 6, 7, 1]])
    assert count(SimpleNamespace(sequences=ids), PROMPT, model()) == count(ids, PROMPT, model())


def test_other_tokens_or_shapes_have_another_fingerprint() -> None:
    outputs = [[[5, 6, 7, 1]], [[5, 6, 7, 2]], [[5, 6], [7, 1]]]
    prints = {count(torch.tensor(o), PROMPT, model()).tokens_sha256 for o in outputs}
    assert len(prints) == 3


def test_what_is_no_token_ids_is_not_counted() -> None:
    assert count("a text", {}, model()) == Tokens()
    assert count(torch.zeros(2, 3), {}, model()) == Tokens()
