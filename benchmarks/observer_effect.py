"""Measure how much recording stretches stages on this GPU, and how accurate latencies are.

For each model a process of its own makes labels of ten controls, each control in turn with a run of
two more that never profile. Then recorded runs of both modes; then five times a session, a detach
and controls, again in turn with the others.

    python benchmarks/observer_effect.py -o observer-effect.json       # five models, both modes
    python benchmarks/observer_effect.py --models molmoe --alone       # without the other processes
    PYTHONHASHSEED=0 setarch -R python benchmarks/observer_effect.py --quiet-core 3

The last is for a machine that others use too: all processes share the core that is quietest at the
moment, three times as many turns are made, and the quietest third counts.

Writes, by model and mode, recorded ÷ control; the labels ÷ those of the processes that never
profiled, stage by stage, and these ÷ each other, which is what the machine allows; of a detached
process its quickest steps ÷ the others', round by round; the launch probe before any session, after
one, and after a detach. Prints medians over all models.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from quiet_core import QuietCore
from turns import NAMES, Turns, against, detached, of_pairs, rounded, sides, steady
from unprofiled import COMPILED, Unprofiled, built

from trace_timing.records.runs import ControlTimes
from trace_timing.stats.latency.times import times_of_control

MODELS = ("random:llava-1b", "random:llava-olmoe", "random:llava-8b", "molmoe", COMPILED)
TOKENS = {"molmoe": 5}
#: Labels of each model, and the controls of each; recorded runs of both modes; rounds after a
#: detach, and the controls of each.
LABELS, CONTROLS, RECORDED, FULL, ROUNDS, A_ROUND = 3, 10, 5, 3, 5, 4


def main() -> None:
    """Measure the models that the command line names, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--labels", type=int, default=LABELS, help="Of ten controls, in turn.")
    parser.add_argument("--full", type=int, default=FULL, help="Recorded runs with CPU ops.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="Of a session and a detach.")
    parser.add_argument("--alone", action="store_true", help="Without the other process.")
    parser.add_argument(
        "--quiet-core",
        type=int,
        default=0,
        metavar="N",
        help="All of a model on the core least disturbed; of N times the turns the quietest count.",
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options)))
        return
    told: dict[str, Any] = {
        "date": date.today().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "models": {},
    }
    for name in options.models:
        told["models"][name] = in_its_own_process(name)
        told["summary"] = summary(told["models"])
        if options.output:  # after each: a machine may be taken away in the middle
            options.output.write_text(json.dumps(told) + "\n")
    print(json.dumps(told["summary"], indent=1))


def in_its_own_process(name: str) -> Any:
    """Result of `measured` in a process of its own, or the reason why it failed."""
    command = [sys.executable, *sys.argv, "--one", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"failed": done.returncode}
    found = json.loads(done.stdout.splitlines()[-1])
    shown = {k: v for k, v in found.items() if k not in ("environment", "runs_ns")}
    print(f"{name}: {json.dumps(shown)}", file=sys.stderr, flush=True)
    return found


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One model: capture it, beside processes that never profile, and compare."""
    import trace_timing
    from trace_timing.recording import environment

    begun = time.monotonic()
    tokens = options.tokens or TOKENS.get(name, 12)
    others = [] if options.alone else [Unprofiled(name, tokens) for _ in range(2)]
    model, inputs = built(name)
    for other in others:
        other.wait()
    with tempfile.TemporaryDirectory() as folder:
        pids = [os.getpid(), *(other.pid for other in others)]
        core = QuietCore(pids) if options.quiet_core else None
        given = {**inputs, "max_new_tokens": tokens}
        run = Alternating(model, given, core, options.quiet_core or 1)
        made = captured(Path(folder) / "ranges", model, inputs, run, others, options)
        for other in others:
            other.close()
        if options.full:
            recorded_alone(Path(folder) / "full", model, inputs, run, options.full)
        analysis = trace_timing.analyze(Path(folder) / "ranges")
        full = trace_timing.analyze(Path(folder) / "full") if options.full else None
    label = analysis.samples.set_index("sample_id").loc["labels"]
    return {
        "environment": environment.describe(),
        "tokens": tokens,
        "latency_source": label["latency_source"],
        "latency_ms": {n: rounded(label[f"{n}_ms"]) for n in (*NAMES, "T_decode_per_token")},
        "half_width": {n: half_width(label, n) for n in NAMES},
        "recorded_over_control": {
            "ranges": stretched(analysis.runs, label),
            "full": stretched(full.runs, label) if full else None,
        },
        "steps_of_controls_ms": each_control(analysis.runs),
        "against_never_profiled": against(made.labels) if others else None,
        "all_labels_together": steady(made.labels) if others else None,
        "read_before_over_plain": effect_of_reading(made.read),
        "detached_over_never_profiled": detached(made.rounds),
        "launch_probe": made.detach,
        "warnings": sorted({d.code for d in analysis.warnings}),
        "checks_hold": analysis.checks_hold and (full is None or full.checks_hold),
        "moves_between_cores": core.moves if core else None,
        "took_s": round(time.monotonic() - begun, 1),
        "runs_ns": {"times": NAMES, **all_runs(made)} if others else None,
    }


class Alternating:
    """The call that is measured: a generate(), and in turn with it one of each other process."""

    def __init__(self, model: Any, given: Mapping[str, Any], core: QuietCore | None, each: int):
        self._model, self._given, self._core = model, given, core
        #: Turns for each that counts.
        self.turns_each = each
        #: The other processes while runs are made in turn with them.
        self.others: list[Unprofiled] = []
        #: Of each turn, the slowest of the fixed loops before and after its runs, in ms.
        self.loops: list[float] = []
        self._first = 0

    def __call__(self) -> Any:
        everyone = [self._own, *(other.run for other in self.others)]
        outputs, loops = {}, []
        for number in range(len(everyone)):
            place = (self._first + number) % len(everyone)
            loops.append(self.settle())
            outputs[place] = everyone[place]()
            loops.append(self._core.now() if self._core else 0.0)
        self._first += 1  # each is the first in every third turn
        self.loops.append(max(loops))
        return outputs[0]

    def _own(self) -> Any:
        return self._model.generate(**self._given)

    def settle(self) -> float:
        """Go where it is quiet, before a run that is measured.

        Returns:
            How long the fixed loop takes there, in ms; 0 if no core is watched.
        """
        return self._core.settle() if self._core else 0.0


@dataclass(frozen=True, kw_only=True)
class Made:
    """The runs of one model in turn with the others, and the launch probes."""

    #: Labels of `CONTROLS` controls each, before any session.
    labels: list[Turns]
    #: After a detach each.
    rounds: list[Turns]
    #: Runs of another process right after the machine was read, and with nothing before them.
    read: list[tuple[ControlTimes, ControlTimes]]
    detach: Any


def captured(
    folder: Path,
    model: Any,
    inputs: Mapping[str, Any],
    run: Alternating,
    others: list[Unprofiled],
    options: argparse.Namespace,
) -> Made:
    """Labels in turn with the other processes, recorded runs, then detached rounds in turn."""
    import trace_timing

    labels, rounds, read = [], [], []
    with trace_timing.capture(
        folder, model, control=CONTROLS, keep="json", record_steps="all"
    ) as session:
        call = session._call("labels", run, None, inputs=inputs)
        session.warm(call, "control")
        for number in range(options.labels if others else 1):
            name = "labels" if not number else f"labels-{number}"
            one = session._call(name, run, None, inputs=inputs)
            labels.append(in_turn(session, one, run, others, CONTROLS))
        if others:
            read = [(others[0].run(), others[0].plain()) for _ in range(CONTROLS)]
        for repeat in range(RECORDED):
            run.settle()
            session.make_recorded(replace(call, repeat=repeat), detach=False)
        may_detach = others and not session._runner.attachment.why_not
        for number in range(options.rounds if may_detach else 0):
            one = session._call(f"round-{number}", run, None, inputs=inputs)
            session.make_recorded(one, detach=True)
            run()  # what the recorded run left behind is not measured
            rounds.append(in_turn(session, one, run, others, A_ROUND))
    manifest = json.loads((folder / "manifest.json").read_text())
    detach = manifest["settings"]["detach"]
    return Made(labels=labels, rounds=rounds, read=read, detach=detach)


def in_turn(
    session: Any, call: Any, run: Alternating, others: list[Unprofiled], number: int
) -> Turns:
    """`number` controls of this process, each in turn with a run of each other.

    On a quiet core more turns are made, and those count in which the fixed loops took least: which
    turns count does not depend on what the runs took.
    """
    session.forget()
    session.plan = replace(session.plan, control=number * run.turns_each)
    run.others, run.loops = list(others), []
    session.make_controls(call)
    run.others = []
    own = [record.control for record in session.last]
    # Warm-ups and a first run that does not count are turns before those of the records.
    loops = run.loops[-len(own) :]
    counted = [at for at, control in enumerate(own) if control and not control.bare]
    quiet = sorted(sorted(counted, key=loops.__getitem__)[:number])
    made = [[other.runs[at - len(own)] for at in quiet] for other in others]
    return Turns([own[at] for at in quiet], made)


def recorded_alone(
    folder: Path, model: Any, inputs: Mapping[str, Any], run: Alternating, repeats: int
) -> None:
    """Recorded runs with CPU ops."""
    import trace_timing

    with trace_timing.capture(folder, model, profile="full", control=0, keep="json") as session:
        call = session._call("labels", run, None, inputs=inputs)
        for repeat in range(repeats):
            run.settle()
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
    """Half-width of the interval ÷ the latency."""
    middle = float(label[f"{name}_ms"])
    return (
        rounded((label[f"{name}_hi_ms"] - label[f"{name}_lo_ms"]) / 2 / middle) if middle else None
    )


def summary(models: Mapping[str, Any]) -> dict[str, Any]:
    """Over models, times and labels: how far labels lie from the truth, and two truths apart."""
    found: dict[str, Any] = {}
    together: dict[str, list[float]] = {}
    for told in models.values():
        for kind, ratios in (told.get("all_labels_together") or {}).items():
            together.setdefault(kind, []).extend(abs(ratio - 1) for ratio in ratios.values())
    for kind, away in together.items():
        found[kind] = {"median_deviation": rounded(np.median(away)), "most": rounded(max(away))}
    for kind in ("label_over_truth", "truth_over_truth"):
        rows = [
            one
            for told in models.values()
            for some in ((told.get("against_never_profiled") or {}).get(kind) or {}).values()
            for one in some
        ]
        if rows:
            found[kind] = {
                "figures": len(rows),
                "median_deviation": rounded(np.median([abs(r["ratio"] - 1) for r in rows])),
                "intervals_that_hold_1": rounded(np.mean([r["holds_1"] for r in rows])),
            }
    return found


def effect_of_reading(read: Sequence[tuple[ControlTimes, ControlTimes]]) -> dict[str, Any]:
    """A run right after the machine was read, as a control is, ÷ one with nothing before it."""
    pairs = [(times_of_control(a), times_of_control(b)) for a, b in read]
    return {
        name: of_pairs([a[name] for a, _ in pairs], [b[name] for _, b in pairs])["pairs"]
        for name in NAMES
        if pairs and all(a[name] and b[name] for a, b in pairs)
    }


def all_runs(made: Made) -> dict[str, Any]:
    """Times in ns of every run, to look at by other means: own, first, second, in order."""
    return {
        kind: [
            [[[times_of_control(c)[n] for n in NAMES] for c in side] for side in sides(turns)]
            for turns in some
        ]
        for kind, some in (("labels", made.labels), ("rounds", made.rounds))
    }


if __name__ == "__main__":
    main()
