"""Compare the label sets of latency_model: train estimators on each, test them on the truth.

    python -m benchmarks.latency_model_fit labels -o labels/fit

Three estimators, trained on the labels by subtraction, on the captured ones and on one half of the
truth, predict configurations that they never saw. Errors are those against both halves of the
truth, of its own ones against the other half. Writes fit.json, a page, and prints the table. Needs
the extra `bench`; no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.latency_model_data import read_labels
from benchmarks.latency_model_errors import errors, predictions, table
from benchmarks.latency_model_page import write_page


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


if __name__ == "__main__":
    main()
