"""Label the same samples in three ways for a latency model; latency_model_fit compares them.

    python -m benchmarks.latency_model -o labels --seconds 560     # again until all are done

81 samples (27 settings of crops, top-k and active blocks, three prompts, 2 to 16 tokens) on the
MolmoE stand-in, sample by sample in turn:

- subtraction.json: as the experiment did, in a process of its own;
- captured.csv: as a user of trace_timing would;
- truth.csv: runs of a process that never profiles. Its half A lies before or after the captured
  runs, half B on the other side, in turn; they tell how far the machine agrees with itself.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import torch

import trace_timing
from benchmarks.latency_model_samples import FEATURES, Sample, build, features, prepared, samples
from benchmarks.latency_model_worker import Worker

#: Columns of the sample table that are kept.
TIMES = ("T_vision_total", "T_LLM_prefill", "T_LLM_decode", "T_sampling", "T_rest", "T_total")
COLUMNS = (
    *("sample_id", *FEATURES, "decode_steps"),
    *(f"{name}{end}_ms" for name in (*TIMES, "T_decode_per_token") for end in ("", "_lo", "_hi")),
    *("latency_source", "interval_from", "controls", "usable", "usable_decode", "reasons"),
)
FILES = ("subtraction.json", "captured.csv", "truth.csv")


def main() -> int:
    """Measure what is missing, as far as the time goes; 0 when all samples are done, else 1."""
    options = _options()
    chosen = samples()[: options.samples]
    options.output.mkdir(parents=True, exist_ok=True)
    answers = options.output / "answers.jsonl"
    measure(chosen, options, answers)
    done = read_answers(answers)
    if not done:
        print("no sample was done in the time", file=sys.stderr)
        return 1
    write_labels(options.output, done, options)
    left = len(chosen) - len(done)
    print(f"{len(done)} of {len(chosen)} samples are done" + (", run it again" if left else ""))
    return 1 if left else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3, help="Of each sample: controls; each half.")
    parser.add_argument("--record-every", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="Begin no sample late.")
    parser.add_argument("--samples", type=int, default=len(samples()))
    parser.add_argument("--tiny", action="store_true", help="A tiny model on the CPU.")
    return parser.parse_args()


def measure(chosen: Sequence[Sample], options: argparse.Namespace, answers: Path) -> None:
    """Put the samples that are not done through all three ways, one after the other."""
    begun, longest = time.monotonic(), 0.0
    done = {answer["sample"] for answer in read_answers(answers)}
    missing = [sample for sample in chosen if sample.id not in done]
    if not missing:
        return
    with _workers(tiny=options.tiny) as (subtraction, truth), _captured(options) as capture:
        for number, sample in enumerate(missing):
            at = time.monotonic()
            if at - begun + 1.5 * longest > options.seconds:
                return
            halves = "AB" if (number + len(done)) % 2 else "BA"
            subtracted = subtraction.ask(sample)
            runs = {halves[0]: truth.ask(sample, options.runs)}
            capture(sample)
            runs[halves[1]] = truth.ask(sample, options.runs)
            took = time.monotonic() - at
            answer = {"sample": sample.id, "subtraction": subtracted, "truth": runs, "s": took}
            with answers.open("a") as file:
                file.write(json.dumps(answer) + "\n")
            longest = max(longest, took)
            print(f"{number + 1}/{len(missing)} {sample.id}: {took:.1f} s", flush=True)


@contextmanager
def _workers(*, tiny: bool) -> Iterator[tuple[Worker, Worker]]:
    with ExitStack() as stack:
        pair = Worker("subtraction", tiny=tiny), Worker("truth", tiny=tiny)
        for worker in pair:
            stack.callback(worker.close)
        yield pair


@contextmanager
def _captured(options: argparse.Namespace) -> Iterator[Any]:
    """A function that captures a sample as a user's own loop does."""
    model = build(tiny=options.tiny)

    def answer(sample: Sample, inputs: Mapping[str, Any]) -> Any:
        return model.generate(**inputs, max_new_tokens=sample.tokens)

    with trace_timing.capture(
        options.output / "capture",
        model,
        control=options.runs,
        record_every=options.record_every,
        record_steps=4,
        keep="store",
        resume=(options.output / "capture").exists(),
        settings={"tiny": options.tiny},
    ) as session:
        measured = session.wrap(
            answer,
            sample_id=lambda sample, inputs: sample.id,
            meta=lambda sample, inputs: features(sample, model),
            repeatable=True,
        )
        yield lambda sample: measured(sample, prepared(model, sample))


def read_answers(path: Path) -> list[dict[str, Any]]:
    """Results measured so far, one entry a sample."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_labels(folder: Path, done: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    """The three label files, and identity.json with their sha256."""
    rows = [answer["subtraction"] for answer in done]
    older = {"num_samples": len(rows), "per_sample_results": rows}
    (folder / FILES[0]).write_text(json.dumps(older, indent=1) + "\n")
    analysis = trace_timing.analyze(folder / "capture")
    table = analysis.samples[list(COLUMNS)]
    table = table[table["sample_id"].isin({answer["sample"] for answer in done})]
    table.to_csv(folder / FILES[1], index=False, float_format="%.6f")
    _write_truth(folder / FILES[2], done)
    manifest = json.loads((folder / "capture" / "manifest.json").read_text())
    identity = {
        "date": date.today().isoformat(),
        "command": " ".join(["python -m benchmarks.latency_model", *sys.argv[1:]]),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "samples": len(done),
        "runs": options.runs,
        "took_s": round(sum(answer["s"] for answer in done)),
        "environment": manifest["environment"],
        "detach": manifest["settings"].get("detach"),
        "warnings": sorted({warning.code for warning in analysis.warnings}),
        "checks_hold": bool(analysis.checks_hold),
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES
        },
    }
    (folder / "identity.json").write_text(json.dumps(identity, indent=1) + "\n")


def _write_truth(path: Path, done: Sequence[dict[str, Any]]) -> None:
    """Write the truth, a row for each run."""
    rows = [
        {"sample_id": answer["sample"], "half": half, "run": number}
        | {name: f"{ms:.6f}" for name, ms in run.items()}
        for answer in done
        for half, runs in sorted(answer["truth"].items())
        for number, run in enumerate(runs)
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
