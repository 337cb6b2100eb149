"""What the label sets of latency_model are worth: estimators trained on each, tested on the truth.

    python -m benchmarks.latency_model_fit labels -o labels/fit

Three estimators, trained on the labels by subtraction, on the captured ones and on half A of the
truth, predict configurations that they never saw; their errors are those against half B. Writes
fit.json, a page, and prints the table. Needs the extra `bench`; no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.latency_model_data import Floats, Labels, Targets, read_labels
from benchmarks.latency_model_estimators import ESTIMATORS, left_out
from benchmarks.latency_model_page import write_page

#: No estimator: the labels themselves. Of the truth's half A this is the machine's own floor.
NONE = "none: the label itself"
QUANTITIES = ("prefill_total", "per_token", "total")
DRAWS = 2_000


@dataclass(frozen=True, kw_only=True)
class Error:
    """Of one estimator trained on one label set, in one quantity, over all samples."""

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
    #: mae_ms ÷ that of the same estimator trained on the truth's half A, and its 95 % interval.
    over_truth: float
    over_truth_lo: float
    over_truth_hi: float


#: (label set, estimator) → quantity → n predictions.
Predictions = dict[tuple[str, str], dict[str, Floats]]


def main() -> None:
    """Fit, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, help="the folder that latency_model wrote")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--svg", type=Path, help="the page's picture as a file of its own")
    options = parser.parse_args()
    torch.set_num_threads(1)
    labels = read_labels(options.labels)
    predicted = predictions(labels)
    found = errors(labels, predicted)
    audits = {name: audited(path) for name, path in _older_files(options.labels)}
    options.output.mkdir(parents=True, exist_ok=True)
    told = {
        "command": " ".join(["python -m benchmarks.latency_model_fit", *sys.argv[1:]]),
        "labels": labels.identity,
        "audit": audits,
        "errors": [asdict(error) for error in found],
    }
    (options.output / "fit.json").write_text(json.dumps(told, indent=1) + "\n")
    page = options.output / "latency-model.html"
    write_page(page, labels, predicted, [asdict(e) for e in found], audits, svg=options.svg)
    print(table(found))
    for name, counts in audits.items():
        print(f"{name}: {json.dumps(counts)}")


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


def true_ms(labels: Labels) -> dict[str, Floats]:
    """Half B, by quantity; the total is the measured one, with sampling and the rest in it."""
    held = labels.held
    return {
        "prefill_total": held.prefill_total,
        "per_token": held.per_token,
        "total": labels.held_total_ms,
    }


def errors(labels: Labels, predicted: Predictions) -> list[Error]:
    """Of every label set, estimator and quantity."""
    true = true_ms(labels)
    found = []
    for quantity in QUANTITIES:
        for name, kind in predicted:
            away = predicted[name, kind][quantity] - true[quantity]
            least = np.abs(predicted["truth", kind][quantity] - true[quantity])
            low, high = ratio_interval(np.abs(away), least, labels.configuration)
            found.append(
                Error(
                    labels=name,
                    estimator=kind,
                    quantity=quantity,
                    mae_ms=float(np.abs(away).mean()),
                    median_ms=float(np.median(np.abs(away))),
                    mape_frac=float((np.abs(away) / true[quantity]).mean()),
                    worst_ms=float(np.abs(away).max()),
                    bias_ms=float(away.mean()),
                    over_truth=float(np.abs(away).mean() / least.mean()),
                    over_truth_lo=low,
                    over_truth_hi=high,
                )
            )
    return found


def ratio_interval(errors: Floats, least: Floats, groups: Any) -> tuple[float, float]:
    """95 % interval of the ratio of two mean errors: configurations drawn anew, DRAWS times."""
    numbers = np.unique(groups)
    sums = np.array([[e[groups == g].sum() for g in numbers] for e in (errors, least)])
    drawn = np.random.default_rng(0).integers(0, len(numbers), (DRAWS, len(numbers)))
    top, bottom = sums[:, drawn].sum(axis=-1)
    low, high = np.quantile(top / bottom, [0.025, 0.975])
    return float(low), float(high)


def _older_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The rows by subtraction, and the same with a full forward pass taken as the prefill."""
    yield "subtraction.json", folder / "subtraction.json"
    told = json.loads((folder / "subtraction.json").read_text())
    for row in told["per_sample_results"]:
        row["T_LLM_prefill"] = row["T_full_forward"]
        left = row["T_total"] - row["T_vision_total"] - row["T_LLM_prefill"]
        row["T_LLM_decode"] = max(0.0, left)
        row["T_decode_per_token"] = row["T_LLM_decode"] / row["output_tokens"]
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "full-forward.json"
        path.write_text(json.dumps(told))
        yield "with a full forward as the prefill", path


def audited(path: Path) -> Mapping[str, Any]:
    """What `trace-timing audit` counts in a file."""
    command = [sys.executable, "-m", "trace_timing", "audit", str(path), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    (said,) = json.loads(done.stdout)
    names = ("rows", "valid", "reasons", "step_ms")
    group = {n: v for n, v in said["overall"].items() if n.startswith("negative")}
    return {name: said[name] for name in names} | group


def table(found: list[Error]) -> str:
    """A line a quantity, estimator and label set."""
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


if __name__ == "__main__":
    main()
