"""Measure how much slower a process's first long run is, and the cost of keeping outputs.

    python benchmarks/first_runs.py          # LLaVA 1B

`lengths`: by attention backend, medians of the steps that two warm-ups of 16 tokens came to, and
of those to new lengths of the cache, in the first and the second run of 64 tokens. `outputs`:
compiled decode over a static cache, 12 runs, first step and median of the others, with each run's
output let go before the next one and with all kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any

from torch.nn.attention import SDPBackend, sdpa_kernel
from unprofiled import COMPILED, built, timed

from trace_timing.recording.hooks import attach as ranges
from trace_timing.recording.model.locate import resolve
from trace_timing.stats.latency.times import decode_times

WARM, LONG, RUNS = 16, 64, 12
BACKENDS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "flash": lambda: sdpa_kernel(SDPBackend.FLASH_ATTENTION),
    "math": lambda: sdpa_kernel(SDPBackend.MATH),
    "default": nullcontext,
}


def main() -> None:
    """Measure both and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="random:llava-1b")
    parser.add_argument("--compiled", default=COMPILED)
    options = parser.parse_args()
    print(json.dumps({"lengths": lengths(options.model), "outputs": outputs(options.compiled)}))


class Runs:
    """Runs of one model, timed as a control is; a context in which its stages are seen."""

    def __init__(self, name: str) -> None:
        self._model, self._inputs = built(name)
        self._slot: list[Any] = [None]
        self._spare: list[Any] = []

    def seen(self) -> ranges.Attachment:
        """Hook the model's parts while the context is open."""
        return ranges.attach(resolve(self._model), lambda: self._slot[0])

    def steps_ms(self, tokens: int, kept: list[Any] | None = None) -> list[float]:
        """Decode steps of one run in order; its output goes into `kept` where that is given."""
        given = {**self._inputs, "max_new_tokens": tokens}
        model = self._model if kept is None else _Keeping(self._model, kept)
        control = timed(model, given, self._slot, self._spare)
        return [ns / 1e6 for _, ns in sorted(decode_times(control).items())]


class _Keeping:
    """A model whose outputs are kept."""

    def __init__(self, model: Any, kept: list[Any]) -> None:
        self._model, self._kept = model, kept
        self.parameters = model.parameters

    def generate(self, **given: Any) -> None:
        self._kept.append(self._model.generate(**given))


def lengths(name: str) -> dict[str, Any]:
    """Of each backend, (warmed steps, later steps) in ms of the first and the second long run."""
    runs, found = Runs(name), {}
    with runs.seen():
        for backend, chosen in BACKENDS.items():
            with chosen():
                for _ in range(2):
                    runs.steps_ms(WARM)
                found[backend] = [_halves(runs.steps_ms(LONG)) for _ in range(2)]
    return found


def outputs(name: str) -> dict[str, Any]:
    """Runs whose outputs are freed or kept: of each (first step, median of the others) in ms."""
    runs = Runs(name)
    with runs.seen():
        for _ in range(5):
            runs.steps_ms(WARM)
        gone = [runs.steps_ms(WARM) for _ in range(RUNS)]
        kept: list[Any] = []
        held = [runs.steps_ms(WARM, kept) for _ in range(RUNS)]
    return {k: [_first(r) for r in some] for k, some in (("let_go", gone), ("kept", held))}


def _halves(steps: Sequence[float]) -> tuple[float, float]:
    return round(median(steps[: WARM - 1]), 2), round(median(steps[WARM - 1 :]), 2)


def _first(steps: Sequence[float]) -> tuple[float, float]:
    return round(steps[0], 2), round(median(steps[1:]), 2)


if __name__ == "__main__":
    main()
