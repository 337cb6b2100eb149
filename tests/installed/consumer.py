"""A user's program, checked by `mypy --strict` against the built wheel; it is never run.

Every figure it takes from the public names of `trace_timing` has to have a type of its own: where
one became `Any`, `assert_type` or the strict settings refuse the program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from typing_extensions import assert_type

import trace_timing
from trace_timing import Analysis


class Model:
    """Stands for a transformers model."""

    def generate(self, **inputs: Any) -> list[int]:
        return [len(inputs)]


def record(folder: Path, model: Model) -> int:
    with trace_timing.capture(folder, model, profile="ranges", control=5) as session:
        session.generate("sample 1", meta={"tier": "high"}, max_new_tokens=4)
        answer = session.wrap(model.generate, repeatable=True)
        assert_type(answer(), list[int])
        assert_type(session.missing("sample 1", 0), tuple[bool, bool])
        assert_type([record.sample_id for record in session.last], list[str])
    return len(answer())


def scores(tasks: list[str]) -> dict[str, float]:
    return dict.fromkeys(tasks, 0.0)


def evaluate(folder: Path, model: Model) -> dict[str, float]:
    evaluation = trace_timing.timed(scores, model, folder, at_most=2)
    assert_type(evaluation(["a task"]), dict[str, float])
    return evaluation(["another"])


def median_decode_ms(folder: Path) -> float:
    result = trace_timing.analyze(folder, jobs=2)
    assert_type(result, Analysis)
    assert_type(result.samples, pd.DataFrame)
    assert_type(result.exit_code, int)
    for warning in result.warnings:
        assert_type((warning.code, warning.stage), tuple[str, str | None])
    for rejection in result.rejections:
        assert_type(rejection.remedy, str)
    return float(result.samples["T_LLM_decode_ms"].median())


def version() -> str:
    return trace_timing.__version__
