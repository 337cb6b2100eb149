"""Errors of estimators trained on each label set, against the truth of latency_model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.latency_model_data import Floats, Labels, Targets
from benchmarks.latency_model_estimators import ESTIMATORS, left_out

#: Label set → what is trained on, and which half of the truth it is tested on.
TESTS = {
    "subtraction": (("subtraction", "A"), ("subtraction", "B")),
    "captured": (("captured", "A"), ("captured", "B")),
    "truth": (("A", "B"), ("B", "A")),
}
#: No estimator: the labels themselves. Of the truth's halves this is the machine's own floor.
NONE = "none: the label itself"
QUANTITIES = ("prefill_total", "per_token", "total")
DRAWS = 2_000


@dataclass(frozen=True, kw_only=True)
class Error:
    """Errors of one estimator trained on one label set, in one quantity, over all samples."""

    labels: str
    estimator: str
    quantity: str
    mae_ms: float
    #: Median of the absolute errors, which a few stalls of the machine do not move.
    median_ms: float
    mape_frac: float
    worst_ms: float
    #: Mean of predicted less true: what does not average out.
    bias_ms: float
    #: mae_ms ÷ that of the same estimator trained on the truth's other half; 95 % interval.
    over_truth: float
    over_truth_lo: float
    over_truth_hi: float


#: (what is trained on, estimator) → quantity → n predictions.
Predictions = dict[tuple[str, str], dict[str, Floats]]


def predictions(labels: Labels) -> Predictions:
    """What each estimator, trained on each label set, says of the samples left out."""
    found: Predictions = {}
    for name, targets in labels.sets.items():
        found[name, NONE] = _both(targets, targets.prefill_total, targets.per_token)
        for kind, estimator in ESTIMATORS.items():
            prefill, token = (
                left_out(estimator, labels.features, target, labels.fold, targets.known)
                for target in (targets.prefill_total, targets.per_token)
            )
            found[name, kind] = _both(targets, prefill, token)
    return found


def _both(targets: Targets, prefill: Floats, token: Floats) -> dict[str, Floats]:
    total = prefill + targets.count * token
    return {"prefill_total": prefill, "per_token": token, "total": total}


def true_ms(labels: Labels, half: str) -> dict[str, Floats]:
    """A half of the truth by quantity; the total is measured, with sampling and the rest in it."""
    held = labels.sets[half]
    return {
        "prefill_total": held.prefill_total,
        "per_token": held.per_token,
        "total": labels.total_ms[half],
    }


def pairs(
    labels: Labels, predicted: Predictions, name: str, kind: str, quantity: str
) -> tuple[Floats, Floats]:
    """Predicted and true of a label set, the samples once for each half; shape (2 n,)."""
    made = [predicted[trained, kind][quantity] for trained, _ in TESTS[name]]
    true = [true_ms(labels, half)[quantity] for _, half in TESTS[name]]
    return np.concatenate(made), np.concatenate(true)


def errors(labels: Labels, predicted: Predictions) -> list[Error]:
    """Errors of every label set, estimator and quantity."""
    kinds = list(dict.fromkeys(kind for _, kind in predicted))
    return [
        _error(labels, predicted, name, kind, quantity)
        for quantity in QUANTITIES
        for kind in kinds
        for name in TESTS
    ]


def _error(labels: Labels, predicted: Predictions, name: str, kind: str, quantity: str) -> Error:
    made, true = pairs(labels, predicted, name, kind, quantity)
    own, others = pairs(labels, predicted, "truth", kind, quantity)
    size, least = np.abs(made - true), np.abs(own - others)
    groups = np.tile(labels.configuration, 2)
    low, high = ratio_interval(size, least, groups)
    return Error(
        labels=name,
        estimator=kind,
        quantity=quantity,
        mae_ms=float(size.mean()),
        median_ms=float(np.median(size)),
        mape_frac=float((size / true).mean()),
        worst_ms=float(size.max()),
        bias_ms=float((made - true).mean()),
        over_truth=float(size.mean() / least.mean()),
        over_truth_lo=low,
        over_truth_hi=high,
    )


def ratio_interval(errors: Floats, least: Floats, groups: Any) -> tuple[float, float]:
    """95 % interval of the ratio of two mean errors: configurations drawn anew, DRAWS times."""
    numbers = np.unique(groups)
    sums = np.array([[e[groups == g].sum() for g in numbers] for e in (errors, least)])
    drawn = np.random.default_rng(0).integers(0, len(numbers), (DRAWS, len(numbers)))
    top, bottom = sums[:, drawn].sum(axis=-1)
    low, high = np.quantile(top / bottom, [0.025, 0.975])
    return float(low), float(high)


def table(found: Sequence[Error]) -> str:
    """Text with a line for each quantity, estimator and label set."""
    head = (
        f"{'quantity':14}{'estimator':24}{'trained on':13}"
        f"{'MAE ms':>9}{'median':>9}{'MAPE':>8}{'worst':>9}{'bias':>9}  MAE ÷ that of truth"
    )
    order = sorted(found, key=lambda e: (QUANTITIES.index(e.quantity), e.estimator))
    return "\n".join([head, *map(_line, order)])


def _line(e: Error) -> str:
    return (
        f"{e.quantity:14}{e.estimator:24}{e.labels:13}{e.mae_ms:9.3f}{e.median_ms:9.3f}"
        f"{e.mape_frac:8.1%}{e.worst_ms:9.3f}{e.bias_ms:+9.3f}  {e.over_truth:.2f} "
        f"[{e.over_truth_lo:.2f}, {e.over_truth_hi:.2f}]"
    )
