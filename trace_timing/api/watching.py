"""analyze while a capture runs: only what is new is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from trace_timing.api.analysis import Analysis, gather, stage_map
from trace_timing.api.one_trace import Outcome, Settings
from trace_timing.api.parts import fingerprint
from trace_timing.api.sources import find_inputs
from trace_timing.api.spreading import spread
from trace_timing.timeline.stages import StageMap

INTERVAL_S = 2.0


def watch(
    *paths: str | Path,
    stages: str | Path | StageMap | None = None,
    cache: Path | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    idle: Callable[[], None] = lambda: time.sleep(INTERVAL_S),
) -> Iterator[Analysis]:
    """Analyses of all traces so far, one whenever there are new ones. Does not end by itself.

    A trace that was refused is tried again once its file has changed: it may have been half
    written.
    """
    settings = Settings(stages=stage_map(stages), cache=cache)
    known: dict[str | None, Outcome] = {}
    while True:
        inputs = find_inputs(str(p) for p in paths)
        keys = [fingerprint(source, settings) for source in inputs.sources]
        new = [n for n, key in enumerate(keys) if key is not None and key not in known]
        numbered = [(n, inputs.sources[n]) for n in new]
        for number, outcome in spread(numbered, settings, jobs=jobs, scheduler=scheduler):
            known[keys[number]] = outcome
        outcomes = [known[key] for key in keys if key in known]
        if new and any(outcome.result for outcome in outcomes):
            yield gather(inputs, outcomes)
        idle()
