"""What an unprofiled run takes, by what the process did just before it.

A capture stores each trace before the next run. Whether that next run is slower, and whether the
session, the storing or the mere pause does it, shows in runs after each of them in random order.

    python benchmarks/aftermath.py                                # 100 rounds of the tiny model

Prints one JSON object: by what came before, medians of the next run and of the one after it, and
the ratio to runs that follow another run, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image
from session_modes import finished, recorded

from trace_timing.recording import environment, kineto_files, ranges
from trace_timing.recording.inputs import Sample, prepare
from trace_timing.recording.models import ModelChoice, load
from trace_timing.recording.resolver import resolve
from trace_timing.recording.runner import SinkSlot
from trace_timing.recording.session import ScopedSession, timed
from trace_timing.stats.recording_effect import ratio


def main() -> None:
    """Time runs after each thing, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--model", default="tiny-llava")
    options = parser.parse_args()
    loaded = load(ModelChoice(name=options.model))
    size = (56, 56) if options.model.startswith("tiny") else (336, 336)
    sample = Sample(id="x", images=(Image.new("RGB", size, "gray"),), prompt="what is this")
    inputs = prepare(sample, loaded.processor, loaded.model).inputs

    def run() -> Any:
        return loaded.model.generate(**inputs, max_new_tokens=options.tokens)

    slot = SinkSlot()
    with ranges.attach(resolve(loaded.model, None), slot), tempfile.TemporaryDirectory() as folder:
        things = Before(run, slot, Path(folder))
        times = measured(things.all(), run, options.rounds)
    told = {"date": date.today().isoformat(), "command": f"--model {options.model}"}
    print(json.dumps(told | {"environment": environment.describe(), "after": summary(times)}))


class Before:
    """What may come before a run."""

    def __init__(self, run: Callable[[], Any], slot: SinkSlot, folder: Path) -> None:
        self._run, self._slot, self._folder = run, slot, folder
        self._session = ScopedSession("ranges")
        self._text = b""
        for _ in range(5):
            finished(run)
            self.stored_session()
        self._pause_s = min(timed(self.storing) for _ in range(5)) / 1e9

    def all(self) -> Mapping[str, Callable[[], object]]:
        """By name."""
        return {
            "a run": lambda: finished(self._run),
            "a pause as long as storing": lambda: time.sleep(self._pause_s),
            "storing alone": self.storing,
            "a session": self.session,
            "a session, then storing": self.stored_session,
        }

    def storing(self) -> None:
        """Inspect, clean and compress a trace that is there already."""
        kineto_files.inspect(self._text, name="x")
        cleaned = kineto_files.clean(self._text, "x")
        kineto_files.store_compressed(cleaned, self._folder / "x.json.gz")

    def session(self) -> None:
        """A profiled run whose trace nobody asks for."""
        self._session.start()
        recorded(self._run, self._slot)
        self._session.stop()

    def stored_session(self) -> None:
        """A profiled run as a capture makes it."""
        self.session()
        self._text = self._saved()
        self.storing()

    def _saved(self) -> bytes:
        path = self._folder / "x.json"
        self._session.save(path)
        return path.read_bytes()


def measured(
    things: Mapping[str, Callable[[], object]], run: Callable[[], Any], rounds: int
) -> dict[str, list[tuple[int, int]]]:
    """The next run and the one after it, in ns, by what came before; in random order."""
    times: dict[str, list[tuple[int, int]]] = {name: [] for name in things}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(things), len(things)):
            finished(run)
            things[name]()
            times[name].append((finished(run), finished(run)))
    return times


def summary(times: Mapping[str, list[tuple[int, int]]]) -> dict[str, Any]:
    """Medians in ms, and the next run against that of the same round after another run."""
    plain = [first for first, _ in times["a run"]]
    return {
        name: {
            "next_ms": round(median(first for first, _ in pairs) / 1e6, 3),
            "second_ms": round(median(second for _, second in pairs) / 1e6, 3),
            "next_over_plain": str(ratio([first for first, _ in pairs], plain)),
        }
        for name, pairs in times.items()
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
