"""Which costs hold for each trace of an analysis, and the factor that its pairs ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from trace_timing.api.parts import Parts
from trace_timing.errors import TraceTimingError
from trace_timing.records import Doubt, Manifest
from trace_timing.stats.trace_result import TraceSource
from trace_timing.timeline.corrected import usable_controls
from trace_timing.timeline.overhead import CostModel, Pair, fit_scale, read_costs
from trace_timing.timeline.replay import pair_of
from trace_timing.timeline.runs import lay_out
from trace_timing.timeline.stages import StageMap
from trace_timing.trace.cache import open_through

#: Pairs that the factor is fitted on: spread over the capture, so that a large one is not read
#: twice. Their median's error is a fifth of one pair's noise.
MOST_FITTED = 24
#: What must agree between the machine that was calibrated and the one that captured.
_SAME = ("device", "driver", "torch", "cuda", "cupti")


@dataclass(frozen=True)
class Correction:
    """Sources with their costs, and what is doubtful about these."""

    sources: tuple[TraceSource, ...]
    doubts: tuple[Doubt, ...]


def with_costs(
    sources: Sequence[TraceSource],
    manifests: Sequence[Manifest],
    stages: StageMap,
    *,
    cache: Path | None = None,
    parts: Parts | None = None,
) -> Correction:
    """Give each recorded trace the cost model of its capture, its factor fitted on the pairs.

    Sources of a capture without a calibration, or recorded by others, stay as they are: their
    corrected figures are null.
    """
    doubts: list[Doubt] = []
    told = list(sources)
    for manifest in manifests:
        if not manifest.calibration:
            doubts.append(_NOT_CALIBRATED)
            continue
        try:
            model = read_costs(manifest.calibration, _mode(manifest))
        except TraceTimingError as error:
            doubts.append(_unreadable(error))
            continue
        doubts.extend(_mismatch(manifest.calibration, manifest))
        mine = [i for i, s in enumerate(sources) if s.manifest is manifest]
        pairs = list(_pairs([sources[i] for i in mine], model, stages, cache, parts))
        model = replace(model, scale=fit_scale(pairs, prior=model.scale))
        for i in mine:
            told[i] = replace(sources[i], costs=model)
    return Correction(tuple(told), tuple(doubts))


def _mode(manifest: Manifest) -> Any:
    return manifest.settings.get("profile", "ranges")


def _pairs(
    sources: Sequence[TraceSource],
    model: CostModel,
    stages: StageMap,
    cache: Path | None,
    parts: Parts | None,
) -> Iterator[Pair]:
    paired = [s for s in sources if any(c.status == "ok" for c in s.controls)]
    step = max(len(paired) // MOST_FITTED, 1)
    for source in paired[::step][:MOST_FITTED]:
        pair = parts.pair(source, model) if parts else None
        if pair is None:
            pair = _measured_pair(source, model, stages, cache)
            if pair and parts:
                parts.save_pair(source, model, pair)
        if pair:
            yield pair


def _measured_pair(
    source: TraceSource, model: CostModel, stages: StageMap, cache: Path | None
) -> Pair | None:
    try:
        trace = open_through(source.local, cache, cpu_ops=model.mode == "full")
        run = lay_out(trace, stages).runs[0]
    except (TraceTimingError, IndexError):
        return None  # rejected with its reason when its turn comes
    own = [c for c in source.controls if c.repeat == source.repeat]
    controls = usable_controls(own or source.controls, run.clock)
    if not controls:
        return None
    return pair_of(trace, run, model, round(median(c.total_ns for c in controls)))


_NOT_CALIBRATED = Doubt(
    code="not_calibrated",
    message="The capture holds no cost model, so times stand as profiled.",
    evidence="no calibration in its manifest",
    remedy="run trace-timing doctor --calibrate -o costs.json on the machine that captures, "
    "and capture with --calibration costs.json",
)


def _unreadable(error: TraceTimingError) -> Doubt:
    return Doubt(
        code="calibration_unreadable",
        message="The capture's cost model cannot be read, so times stand as profiled.",
        evidence=str(error),
        remedy=error.remedy,
    )


def _mismatch(calibration: Mapping[str, Any], manifest: Manifest) -> Iterator[Doubt]:
    calibrated = calibration.get("environment") or {}
    captured = _flat(manifest.environment)
    differing = [
        f"{name}: {calibrated[name]} and {captured[name]}"
        for name in _SAME
        if calibrated.get(name)
        and captured.get(name)
        and _release(calibrated[name]) != _release(captured[name])
    ]
    if differing:
        yield Doubt(
            code="calibrated_elsewhere",
            message="The cost model was measured on another machine or other versions.",
            evidence="; ".join(differing),
            remedy="run trace-timing doctor --calibrate on the machine that captures",
        )


def _release(version: object) -> str:
    """A version without its build: torch calls itself 2.11.0+cu130, its package 2.11.0."""
    return str(version).split("+")[0]


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    devices = environment.get("devices") or [{}]
    return {
        "device": devices[0].get("name"),
        "driver": environment.get("driver"),
        "cuda": environment.get("cuda"),
        "cupti": environment.get("cupti"),
        "torch": (environment.get("packages") or {}).get("torch"),
    }
