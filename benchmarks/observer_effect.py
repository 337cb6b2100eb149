"""How far recording stretches stages on this GPU, and how true the latencies are that it does not.

For each model a process of its own makes controls. Then, in turn with another that never profiles,
more of them; then recorded runs of both modes; then five times a session, a detach and controls,
again in turn with the other.

    python benchmarks/observer_effect.py -o observer-effect.json       # five models, both modes
    python benchmarks/observer_effect.py --models molmoe --alone       # without the other process

Prints one JSON object: by model and mode recorded ÷ control; the capture's latencies ÷ those of the
process that never profiled, stage by stage; of a detached process its quickest steps ÷ the other's,
round by round; the launch probe before any session, after one, and after a detach.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special
from unprofiled import COMPILED, Unprofiled, built

MODELS = ("random:llava-1b", "random:llava-olmoe", "random:llava-8b", "molmoe", COMPILED)
TOKENS = {"molmoe": 5}
CONTROLS, RECORDED, FULL, ROUNDS, A_ROUND = 10, 5, 3, 5, 4
NAMES = ("T_vision_total", "T_LLM_prefill", "T_LLM_decode", "T_sampling", "T_total")


def main() -> None:
    """Measure the models that the command line names, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--alone", action="store_true", help="Without the other process.")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.one:
        tokens = options.tokens or TOKENS.get(options.one, 12)
        print(json.dumps(measured(options.one, tokens, alone=options.alone)))
        return
    told: dict[str, Any] = {
        "date": date.today().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "models": {},
    }
    for name in options.models:
        told["models"][name] = in_its_own_process(name, options.tokens, alone=options.alone)
        if options.output:  # after each: a machine may be taken away in the middle
            options.output.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


def in_its_own_process(name: str, tokens: int | None, *, alone: bool) -> Any:
    """What `measured` gives, or why it gave nothing."""
    command = [sys.executable, __file__, "--one", name]
    command += [] if tokens is None else ["--tokens", str(tokens)]
    command += ["--alone"] if alone else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"failed": done.returncode}
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {json.dumps(found)}", file=sys.stderr, flush=True)
    return found


def measured(name: str, tokens: int, *, alone: bool) -> dict[str, Any]:
    """One model: capture it, beside the process that never profiles, and compare."""
    import trace_timing
    from trace_timing.recording import environment

    begun = time.monotonic()
    model, inputs = built(name)
    with tempfile.TemporaryDirectory() as folder:
        run = Alternating(model, {**inputs, "max_new_tokens": tokens})
        start = None if alone else lambda: Unprofiled(name, tokens)
        pairs, rounds, detach = captured(Path(folder) / "ranges", model, inputs, run, start)
        recorded_alone(Path(folder) / "full", model, inputs, run)
        analysis = trace_timing.analyze(Path(folder) / "ranges")
        full = trace_timing.analyze(Path(folder) / "full")
    label = analysis.samples.set_index("sample_id").loc["labels"]
    return {
        "environment": environment.describe(),
        "tokens": tokens,
        "latency_source": label["latency_source"],
        "latency_ms": {n: rounded(label[f"{n}_ms"]) for n in (*NAMES, "T_decode_per_token")},
        "half_width": {n: half_width(label, n) for n in NAMES},
        "recorded_over_control": {
            "ranges": stretched(analysis.runs, label),
            "full": stretched(full.runs, label),
        },
        "steps_of_controls_ms": each_control(analysis.runs),
        "against_never_profiled": against(pairs) if pairs else None,
        "detached_over_never_profiled": detached(rounds),
        "launch_probe": detach,
        "warnings": sorted({w.code for w in analysis.warnings}),
        "checks_hold": analysis.checks_hold and full.checks_hold,
        "took_s": round(time.monotonic() - begun, 1),
    }


class Alternating:
    """The call that is measured: a generate(), and in turn with it one of the other process."""

    def __init__(self, model: Any, given: Mapping[str, Any]) -> None:
        self._model, self._given = model, given
        #: The other process while runs are made in turn with it.
        self.other: Unprofiled | None = None

    def __call__(self) -> Any:
        output = self._model.generate(**self._given)
        if self.other is not None:
            self.other.run()
        return output


#: Controls of this process, and the other's runs in turn with them.
Pairs = tuple[list[Any], list[Any]]


def captured(
    folder: Path,
    model: Any,
    inputs: Mapping[str, Any],
    run: Alternating,
    start: Callable[[], Unprofiled] | None,
) -> tuple[Pairs | None, list[Pairs], Any]:
    """Labels, controls in turn with the other process, recorded runs, then detached rounds.

    Returns:
        The runs in turn before any session, those of each round after a detach, the launch probes.
    """
    import trace_timing

    rounds: list[Pairs] = []
    pairs = None
    with trace_timing.capture(
        folder, model, control=CONTROLS, keep="json", record_steps="all"
    ) as session:
        call = session._call("labels", run, None, inputs=inputs)
        session.warm(call, "control")
        session.make_controls(call)
        other = start() if start else None
        if other:
            other.wait()
            pairs = in_turn(session, session._call("in-turn", run, None, inputs=inputs), run, other)
        for repeat in range(RECORDED):
            session.make_recorded(replace(call, repeat=repeat), detach=False)
        session.plan = replace(session.plan, control=A_ROUND)
        for number in range(ROUNDS if other and session._runner.attachment.why_not is None else 0):
            assert other is not None
            one = session._call(f"round-{number}", run, None, inputs=inputs)
            session.make_recorded(one, detach=True)
            run()  # what the recorded run left behind is not measured
            rounds.append(in_turn(session, one, run, other))
        if other:
            other.close()
    manifest = json.loads((folder / "manifest.json").read_text())
    return pairs, rounds, manifest["settings"]["detach"]


def in_turn(session: Any, call: Any, run: Alternating, other: Unprofiled) -> Pairs:
    """Controls of this process, each followed by a run of the other."""
    begin = len(other.runs)
    session.forget()
    run.other = other
    session.make_controls(call)
    run.other = None
    own = [r.control for r in session.last if r.control and not r.control.bare]
    return own, other.runs[begin : begin + len(own)]


def recorded_alone(
    folder: Path, model: Any, inputs: Mapping[str, Any], run: Callable[[], Any]
) -> None:
    """Recorded runs with CPU ops."""
    import trace_timing

    with trace_timing.capture(folder, model, profile="full", control=0, keep="json") as session:
        call = session._call("labels", run, None, inputs=inputs)
        for repeat in range(FULL):
            session.make_recorded(replace(call, repeat=repeat), detach=False)


def stretched(runs: Any, label: Any) -> dict[str, Any]:
    """Recorded ÷ control: median over the recorded runs, least and greatest."""
    mine = runs[(runs["role"] == "recorded") & (runs["sample_id"] == "labels")]
    found = {}
    for name in (*NAMES, "T_decode_per_token"):
        if label[f"{name}_ms"] == label[f"{name}_ms"] and label[f"{name}_ms"]:
            ratios = (mine[f"{name}_ms"].astype(float) / float(label[f"{name}_ms"])).tolist()
            found[name] = [rounded(v) for v in (np.median(ratios), min(ratios), max(ratios))]
    return found


def each_control(runs: Any) -> list[float]:
    """A decode step of each of the labels' controls, in the order made."""
    mine = runs[(runs["role"] == "control") & (runs["sample_id"] == "labels")]
    mine = mine[mine["bare"].eq(False)]
    return [rounded(v) for v in mine.sort_values("ordinal")["T_decode_per_token_ms"]]


def half_width(label: Any, name: str) -> float | None:
    """Half the interval ÷ the latency."""
    middle = float(label[f"{name}_ms"])
    return (
        rounded((label[f"{name}_hi_ms"] - label[f"{name}_lo_ms"]) / 2 / middle) if middle else None
    )


def against(pairs: Pairs) -> dict[str, Any]:
    """This process's controls ÷ the other's runs: of their middle means, and the interval of the
    mean log ratio of the runs that were made in turn, by Student's t."""
    from trace_timing.stats.latency.sample_latency import latency_of_controls
    from trace_timing.stats.latency.times import times_of_control

    own, others = (latency_of_controls(side, None).ns for side in pairs)
    found: dict[str, Any] = {"runs": len(pairs[0])}
    for name in NAMES:
        if not own[name] or not others[name]:
            continue
        both = zip(*pairs, strict=True)
        times = [(times_of_control(a)[name], times_of_control(b)[name]) for a, b in both]
        middle, low, high = mean_ratio([math.log(a / b) for a, b in times if a and b])
        found[name] = {
            "ratio": rounded(own[name] / others[name]),  # type: ignore[operator]
            "pairs": [middle, low, high],
            "holds_1": low <= 1 <= high,
        }
    return found


def mean_ratio(logs: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of ratios and its 95 % interval, by Student's t on their logarithms."""
    values = np.array(logs)
    half = special.stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values))
    mean = float(values.mean())
    return tuple(rounded(math.exp(v)) for v in (mean, mean - half, mean + half))  # type: ignore[return-value]


def detached(rounds: Sequence[Pairs]) -> dict[str, Any] | None:
    """Tenth percentiles of steps, detached ÷ never profiled, by round and over rounds."""
    from trace_timing.stats.latency.times import steps_of_control

    if not rounds:
        return None
    steps = [[[ns for c in side for ns in steps_of_control(c)] for side in pair] for pair in rounds]
    logs = [math.log(quick(own) / quick(others)) for own, others in steps]
    middle, low, high = mean_ratio(logs)
    return {
        "rounds": [rounded(math.exp(v)) for v in logs],
        "ratio": middle,
        "interval": [low, high],
    }


def quick(steps: Sequence[int]) -> float:
    """Tenth percentile."""
    return float(np.quantile(np.array(steps, np.float64), 0.1))


def rounded(value: Any) -> float:
    """Four digits after the point: these are ratios and milliseconds."""
    return round(float(value), 4)


if __name__ == "__main__":
    main()
