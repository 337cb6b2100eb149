"""Label sets of known worth come out so: a bias that is put in is found, and none where none is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from benchmarks import latency_model_errors as judging
from benchmarks.latency_model_data import Labels, read_labels
from benchmarks.latency_model_estimators import ESTIMATORS, left_out
from benchmarks.latency_model_fit import _older_files, audited
from benchmarks.latency_model_samples import samples

#: ms by which the subtraction of these files is too low, before it is clamped.
LOST = 30.0
#: By which the halves of the truth differ, relative: without any no ratio could be taken to it.
NOISE = 1e-6


def write_labels(folder: Path) -> None:
    """81 samples whose times are products of the knobs, without noise; captured as they are."""
    rows, captured, truth = [], [], []
    for number, one in enumerate(samples()):
        vision, tokens = 5.0 * one.crops, one.tokens
        prefill = one.active_blocks * (2 + 0.1 * one.top_k + 0.05 * one.crops)
        step = 1.0 * one.active_blocks + 0.02 * one.active_blocks * one.top_k
        decode, total = step * (tokens - 1), vision + prefill + step * (tokens - 1)
        left = max(0.0, total - LOST - vision - prefill)
        knobs = {
            "sample_id": one.id,
            "actual_num_crops": one.crops,
            "top_k": one.top_k,
            "num_active_blocks": one.active_blocks,
            "actual_vision_tokens": 144 * one.crops,
            "actual_text_tokens": one.words,
        }
        rows.append(
            {**knobs, "output_tokens": tokens, "T_vision_total": vision, "T_LLM_prefill": prefill}
            | {"T_total": total - LOST, "T_full_forward": vision + prefill, "T_LLM_decode": left}
            | {"T_decode_per_token": left / tokens}
        )
        captured.append(
            {**knobs, "decode_steps": tokens - 1, "T_vision_total_ms": vision}
            | {"T_LLM_prefill_ms": prefill, "T_decode_per_token_ms": step}
            | {"usable": number != 7, "usable_decode": True}
        )
        times = np.array([vision + prefill, decode, total])
        names = ("T_prefill_total_ms", "T_LLM_decode_ms", "T_total_ms")
        truth += [
            {"sample_id": one.id, "half": half, "run": run, **dict(zip(names, ms, strict=True))}
            for half, ms in (("A", times * (1 + NOISE)), ("B", times))
            for run in range(2)
        ]
    (folder / "subtraction.json").write_text(json.dumps({"per_sample_results": rows}))
    pd.DataFrame(captured).to_csv(folder / "captured.csv", index=False)
    pd.DataFrame(truth).to_csv(folder / "truth.csv", index=False)
    names = ("subtraction.json", "captured.csv", "truth.csv")
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    identity = {"device": "none", "date": "never", "samples": 81, "runs": 2, "sha256": sums}
    (folder / "identity.json").write_text(json.dumps(identity))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_labels(tmp_path)
    return tmp_path


@pytest.fixture
def labels(folder: Path) -> Labels:
    return read_labels(folder)


def test_files_other_than_those_of_the_identity_are_refused(folder: Path) -> None:
    with (folder / "truth.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match=r"truth\.csv is not the file"):
        read_labels(folder)


def test_a_fold_leaves_out_whole_configurations_and_each_value_of_a_knob_as_often(
    labels: Labels,
) -> None:
    pairs = set(zip(labels.configuration, labels.fold, strict=True))
    assert len(pairs) == len(set(labels.configuration)) == 27
    assert np.bincount(labels.fold).tolist() == [27, 27, 27]
    for knob in labels.features.T[2:]:
        for value in set(knob):
            assert np.bincount(labels.fold[knob == value]).tolist() == [9, 9, 9]


def test_unusable_rows_are_trained_on_by_nobody(labels: Labels) -> None:
    assert (~labels.sets["captured"].known).sum() == 1
    seen: list[Any] = []

    def constant(x: Any, y: Any, others: Any) -> Any:
        seen.append(len(x))
        return np.zeros(len(others))

    left_out(constant, labels.features, np.ones(81), labels.fold, labels.sets["captured"].known)
    assert sorted(seen) == [53, 53, 54]


def test_true_labels_err_by_what_the_estimator_does_and_false_ones_by_more(
    labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "linear with products"
    monkeypatch.setattr(judging, "ESTIMATORS", {name: ESTIMATORS[name]})
    every = judging.errors(labels, judging.predictions(labels))
    themselves = {(e.labels, e.quantity): e for e in every if e.estimator == judging.NONE}
    found = {(e.labels, e.quantity): e for e in every if e.estimator == name}
    assert themselves["captured", "total"].over_truth == pytest.approx(0.5), "no noise of its own"
    assert 0 < themselves["truth", "total"].mae_ms < 1e-2, "the floor"
    assert found["captured", "per_token"].mae_ms < 0.02
    assert found["captured", "prefill_total"].mae_ms < 0.02
    per_token = found["subtraction", "per_token"]
    assert per_token.bias_ms < -2
    assert per_token.mae_ms > 100 * found["truth", "per_token"].mae_ms
    assert found["subtraction", "prefill_total"].mae_ms < 0.02, "this bias is in decode alone"


@pytest.mark.slow
def test_the_rows_marked_are_those_that_audit_counts(folder: Path, labels: Labels) -> None:
    counts = {name: audited(path) for name, path in _older_files(folder)}
    assert counts["subtraction.json"]["negative"] == labels.negative.sum() > 0
    assert counts["with a full forward as the prefill"]["negative"] > labels.negative.sum()


def test_the_ratio_of_errors_has_an_interval_by_configuration() -> None:
    groups = np.repeat(np.arange(27), 3)
    errors = np.random.default_rng(1).uniform(1, 2, 81)
    assert judging.ratio_interval(2 * errors, errors, groups) == pytest.approx((2, 2))
    low, high = judging.ratio_interval(errors, errors[::-1], groups)
    assert low < 1 < high
