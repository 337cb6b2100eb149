"""Analyse repeatedly while a capture runs, reading only new traces."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from trace_timing.api.analysis.analyze import Execution, analysis_of, stage_map
from trace_timing.api.analysis.inputs import find_inputs
from trace_timing.api.analysis.result import Analysis
from trace_timing.api.analysis.result_cache import ResultCache
from trace_timing.api.analysis.worker import Settings
from trace_timing.errors import NothingReadError
from trace_timing.report.model import SampleDetail
from trace_timing.timeline.naming.stage_names import StageMap

INTERVAL_S = 2.0


def watch(
    *paths: str | Path,
    stages: str | Path | StageMap | None = None,
    cache: Path | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    idle: Callable[[], None] = lambda: time.sleep(INTERVAL_S),
) -> Iterator[Analysis]:
    """Yields an analysis of all traces so far whenever there are new ones. Never ends by itself.

    A refused trace is tried again once its file has changed: it may have been incomplete.
    """
    settings = Settings(stages=stage_map(stages), cache=cache)
    shown: dict[str, tuple[SampleDetail, ...]] = {}
    with tempfile.TemporaryDirectory(prefix="trace-timing-") as folder:
        parts = ResultCache(Path(folder), settings)
        execution = Execution(
            settings=settings, parts=parts, resume=True, jobs=jobs, scheduler=scheduler
        )
        while True:
            found = find_inputs(str(p) for p in paths)
            keys = [parts.key(source) for source in found.sources]
            if any(key is not None and not parts.has(key) for key in keys):
                there = [s for s, key in zip(found.sources, keys, strict=True) if key is not None]
                for source, key in zip(found.sources, keys, strict=True):
                    if not parts.has(key):
                        shown.pop(source.name, None)
                inputs = replace(found, sources=tuple(there))
                with suppress(NothingReadError):
                    yield analysis_of(inputs, execution, shown=shown)
            idle()
