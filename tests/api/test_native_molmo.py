"""capture() around an experiment's own function, on Molmo's native layout: no configuration of
transformers, a generate() of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

import trace_timing
from tests.recording.molmo import molmo_native

pytestmark = pytest.mark.capture


def test_a_native_models_stages_are_timed_inside_a_wrapped_function(tmp_path: Path) -> None:
    tiny = molmo_native()

    def answer(row: dict[str, Any], tokens: int) -> torch.Tensor:
        output: torch.Tensor = tiny.model.generate(
            row["input_ids"], images=row["images"], max_new_tokens=tokens
        )
        return output

    plain = answer(tiny.inputs, 4)
    with trace_timing.capture(tmp_path, tiny.model) as session:
        recorded = session.wrap(answer, sample_id=lambda row, tokens: "q0", repeatable=True)
        assert torch.equal(recorded(tiny.inputs, 4), plain)
    result = trace_timing.analyze(tmp_path)
    stages = set(result.stages["stage"])
    assert {"vision_encoder", "projector", "prefill", "decode", "sampling"} <= stages
    assert result.steps.query("stage == 'decode'")["step"].tolist() == [1, 2, 3]
    assert result.laws_hold
    # What the function returns begins with the prompt, which is not among the new tokens.
    (sample,) = result.samples.to_dict("records")
    assert sample["input_tokens"] == tiny.inputs["input_ids"].shape[1]
    assert sample["output_tokens"] == 4
    assert sample["decode_steps"] == 3
    assert set(result.runs["output_tokens"]) == {4}


def test_the_manifest_says_what_such_a_model_is_made_of(tmp_path: Path) -> None:
    tiny = molmo_native()
    with trace_timing.capture(tmp_path, tiny.model):
        pass
    (manifest,) = [p.read_text() for p in tmp_path.glob("manifest.json")]
    assert '"architecture":"Molmo"' in manifest.replace(" ", "")
    assert "vision_backbone.image_vit" in manifest
