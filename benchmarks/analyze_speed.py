"""Time `trace-timing analyze`, compared with another checkout of it and with json.load.

    git worktree add --detach OLD 6642aba
    python -m benchmarks.analyze_speed --against OLD [--trace TRACE.json] [--rounds 5]

Everything is run in turn, so that what else the machine does hits all alike; of each the least of
the rounds is told. Processor time is that of all processes of a command, bytecode is written before
the first round, and nothing is read from the cache. The traces are the older checkout's
sample_traces/; --trace is read beside json.load of it, both by the wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent.parent
LOAD = "import json, sys; json.load(open(sys.argv[1], 'rb'))"


@dataclass(frozen=True)
class Cost:
    """Seconds and memory of one process and its children."""

    processor_s: float
    wall_s: float


def cost_of(command: list[str], folder: Path) -> Cost:
    """Run a command whose exit code is 0, or 1 for traces with warnings."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    # Python's own failures end with 1 too, as an analysis that rejected something does.
    if done.returncode not in (0, 1) or b"Traceback" in done.stderr:
        raise SystemExit(done.stderr.decode("utf-8", "replace"))
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(processor_s, wall_s)


def least(commands: dict[str, tuple[list[str], Path]], rounds: int) -> dict[str, Cost]:
    """The least costs of commands that are run in turn, after an unmeasured round."""
    done: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, (command, folder) in commands.items():
            cost = cost_of(command, folder)
            if number:
                done[name].append(cost)
    return {
        name: Cost(min(c.processor_s for c in costs), min(c.wall_s for c in costs))
        for name, costs in done.items()
    }


def analyze(traces: Path, output: str, *more: str) -> list[str]:
    """The command line."""
    own = ["analyze", str(traces), "--no-cache", "-o", output, *more]
    return [sys.executable, "-m", "trace_timing", *own]


def commands_of(options: argparse.Namespace, output: str) -> dict[str, tuple[list[str], Path]]:
    """The commands that are run in turn, by name."""
    one = min((HERE / "sample_traces" / "traces").glob("*.json.gz"), key=lambda p: p.stat().st_size)
    commands = {"one sample trace": (analyze(one, output), HERE)}
    if options.against:
        old, traces = options.against, options.against / "sample_traces"
        for name, more in (("with report", []), ("without report", ["--no-report"])):
            commands[f"old, {name}"] = (analyze(traces, output, *more), old)
            commands[f"new, {name}"] = (analyze(traces, output, *more), HERE)
    if options.trace:
        commands["trace"] = (analyze(options.trace, output), HERE)
        commands["json.load"] = ([sys.executable, "-c", LOAD, str(options.trace)], HERE)
    return commands


def main() -> None:
    """Run all in turn; print the least costs and their ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="checkout of an older commit")
    parser.add_argument("--trace", type=Path, help="a large trace, as JSON that is not compressed")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name in ("against", "trace"):
        path = getattr(options, name)
        setattr(options, name, path and path.resolve())
    with tempfile.TemporaryDirectory() as folder:
        costs = least(commands_of(options, str(Path(folder) / "out")), options.rounds)
    for name, cost in costs.items():
        print(f"{name}: {cost.processor_s:.3f} s of processor time, {cost.wall_s:.3f} s")
    ratios = {}
    if options.against:
        for name in ("with report", "without report"):
            ratio = costs[f"new, {name}"].processor_s / costs[f"old, {name}"].processor_s
            ratios[f"processor time, new ÷ old, {name}"] = round(ratio, 3)
    if options.trace:
        trace, load = costs["trace"], costs["json.load"]
        ratios["wall, analyze ÷ json.load"] = round(trace.wall_s / load.wall_s, 3)
        ratios["processor time, analyze ÷ json.load"] = round(
            trace.processor_s / load.processor_s, 3
        )
    print(json.dumps(ratios, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
