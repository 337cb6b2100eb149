"""timed() around an evaluation: its answers untouched, each generate() below it a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

import trace_timing
from tests.api.capture.test_capture import SAMPLE
from trace_timing.errors import UsageError
from trace_timing.recording.model.loading import Loaded, ModelChoice, load
from trace_timing.recording.samples import prepare
from trace_timing.recording.storage.directory import read_records

pytestmark = pytest.mark.capture


@pytest.fixture(scope="module")
def tiny() -> Loaded:
    return load(ModelChoice(name="tiny-llava", device="cpu"))


class Harness:
    """In the style of evaluation harnesses: a loop over requests, generate() two calls below."""

    def __init__(self, tiny: Loaded) -> None:
        self.model = tiny.model
        self._inputs = dict(prepare(SAMPLE, tiny.processor, tiny.model).inputs)

    def generate_until(self, requests: list[int]) -> list[list[int]]:
        """A row of tokens a request."""
        return [self._answer(tokens) for tokens in requests]

    def _answer(self, tokens: int) -> list[int]:
        ids = self._inputs["input_ids"]
        more = {name: value for name, value in self._inputs.items() if name != "input_ids"}
        output = self.model.generate(ids, **more, max_new_tokens=tokens, do_sample=True)
        answer: list[int] = output[0].tolist()
        return answer


def roles(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in read_records(folder / "runs.rank0.jsonl"):
        assert record.status == "ok"
        found.setdefault(record.sample_id, []).append(record.role)
    return found


def test_each_generate_below_is_a_sample_and_the_answers_are_as_ever(
    tiny: Loaded, tmp_path: Path
) -> None:
    harness = Harness(tiny)
    torch.manual_seed(3)
    plain = harness.generate_until([3, 2])
    evaluate = trace_timing.timed(harness.generate_until, harness.model, tmp_path / "t", control=1)
    torch.manual_seed(3)
    assert evaluate([3, 2]) == plain
    # A control without hooks stands beside the first.
    assert roles(tmp_path / "t") == {
        "call-000000": ["control", "control", "recorded"],
        "call-000001": ["control", "recorded"],
    }
    assert "generate" not in vars(harness.model)
    samples = trace_timing.analyze(tmp_path / "t").samples
    assert samples["decode_steps"].tolist() == [2, 1]
    assert samples["usable"].all()


def test_calls_beyond_the_wanted_ones_are_made_once_and_untouched(
    tiny: Loaded, tmp_path: Path
) -> None:
    harness = Harness(tiny)
    evaluate = trace_timing.timed(
        harness.generate_until, harness.model, tmp_path / "t", control=1, at_most=1
    )
    assert len(evaluate([2, 2, 2])) == 3
    assert list(roles(tmp_path / "t")) == ["call-000000"]


def test_an_error_comes_through_and_leaves_the_model_as_it_was(
    tiny: Loaded, tmp_path: Path
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("no such task")

    with pytest.raises(KeyError, match="no such task"):
        trace_timing.timed(broken, tiny.model, tmp_path / "t")()
    assert "generate" not in vars(tiny.model)


def test_a_function_that_never_generates_is_answered_with_a_warning(
    tiny: Loaded, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="never called generate"):
        assert trace_timing.timed(len, tiny.model, tmp_path / "t")("four") == 4


def test_what_has_no_generate_is_refused_before_the_evaluation_begins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="object has no generate"):
        trace_timing.timed(len, object(), tmp_path / "t")
    assert not (tmp_path / "t").exists()
