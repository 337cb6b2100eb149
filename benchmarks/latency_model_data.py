"""The label files of latency_model as arrays: features, targets of each label set, folds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
#: What the estimators are given. The tier is its number of crops.
FEATURES = (
    *("actual_vision_tokens", "actual_text_tokens", "actual_num_crops"),
    *("top_k", "num_active_blocks"),
)
#: A configuration is one value of each; a split never parts its samples.
KNOBS = ("actual_num_crops", "top_k", "num_active_blocks")
FOLDS = 3


@dataclass(frozen=True, kw_only=True)
class Targets:
    """One label set in ms, one row for each sample."""

    prefill_total: Floats
    per_token: Floats
    #: Per-token times in a total: the output tokens where those divide, else the steps.
    count: Floats
    #: Rows that may be trained on.
    known: Bools

    def total(self) -> Floats:
        """What both targets make of a whole generate()."""
        return self.prefill_total + self.count * self.per_token


@dataclass(frozen=True, kw_only=True)
class Labels:
    """81 samples or fewer, labelled three ways; rows of all members are in the same order."""

    identity: Mapping[str, Any]
    sample_ids: tuple[str, ...]
    features: Floats
    #: Number of each row's configuration, and the fold in which it is left out.
    configuration: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]
    #: By label set: subtraction, captured, and the truth's halves A and B.
    sets: Mapping[str, Targets]
    #: The totals that were measured of each half.
    total_ms: Mapping[str, Floats]
    #: Rows whose subtraction came out below zero.
    negative: Bools


def read_labels(folder: Path) -> Labels:
    """Read label files and check that they are those that identity.json speaks of.

    Raises:
        ValueError: a file's sha256 is another.
    """
    identity = json.loads((folder / "identity.json").read_text())
    for name, digest in identity["sha256"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(f"{name} is not the file that identity.json speaks of")
    older = pd.DataFrame(
        json.loads((folder / "subtraction.json").read_text())["per_sample_results"]
    )
    older = older.set_index("sample_id")
    captured = pd.read_csv(folder / "captured.csv").set_index("sample_id").loc[older.index]
    truth = pd.read_csv(folder / "truth.csv")
    tokens = older["output_tokens"].to_numpy(np.float64)
    halves = {half: _middle_mean(truth, half).loc[older.index] for half in "AB"}
    codes = np.stack([np.unique(older[knob], return_inverse=True)[1] for knob in KNOBS])
    return Labels(
        identity=identity,
        sample_ids=tuple(older.index),
        features=older[list(FEATURES)].to_numpy(np.float64),
        configuration=np.ravel_multi_index(tuple(codes), tuple(codes.max(axis=1) + 1)),
        # A Latin square: every fold leaves out each value of each knob equally often.
        fold=codes.sum(axis=0) % FOLDS,
        sets={
            "subtraction": _of_subtraction(older, tokens),
            "captured": _of_capture(captured),
            **{half: _of_truth(times, tokens) for half, times in halves.items()},
        },
        total_ms={h: times["T_total_ms"].to_numpy(np.float64) for h, times in halves.items()},
        negative=(older.T_total - older.T_vision_total - older.T_LLM_prefill < 0).to_numpy(),
    )


def _middle_mean(truth: pd.DataFrame, half: str) -> pd.DataFrame:
    """Of each sample's K runs ⌊K/4⌋ are left out at each end, by their total: as captures do."""
    mine = truth[truth["half"] == half].sort_values("T_total_ms", kind="stable")
    place = mine.groupby("sample_id").cumcount()
    runs = mine.groupby("sample_id")["run"].transform("size")
    middle = mine[(place >= runs // 4) & (place < runs - runs // 4)]
    return middle.groupby("sample_id")[
        ["T_prefill_total_ms", "T_LLM_decode_ms", "T_total_ms"]
    ].mean()


def _of_subtraction(older: pd.DataFrame, tokens: Floats) -> Targets:
    """As the experiment trained on them: clamped, divided by the tokens, no row left out."""
    return Targets(
        prefill_total=(older["T_vision_total"] + older["T_LLM_prefill"]).to_numpy(np.float64),
        per_token=older["T_decode_per_token"].to_numpy(np.float64),
        count=tokens,
        known=np.ones(len(older), bool),
    )


def _of_capture(captured: pd.DataFrame) -> Targets:
    vision, prefill = captured["T_vision_total_ms"], captured["T_LLM_prefill_ms"]
    return Targets(
        prefill_total=(vision + prefill).to_numpy(np.float64),
        per_token=captured["T_decode_per_token_ms"].to_numpy(np.float64),
        count=captured["decode_steps"].to_numpy(np.float64),
        known=(captured["usable"] & captured["usable_decode"]).to_numpy(bool),
    )


def _of_truth(half: pd.DataFrame, tokens: Floats) -> Targets:
    return Targets(
        prefill_total=half["T_prefill_total_ms"].to_numpy(np.float64),
        per_token=half["T_LLM_decode_ms"].to_numpy(np.float64) / (tokens - 1),
        count=tokens - 1,
        known=np.ones(len(half), bool),
    )
