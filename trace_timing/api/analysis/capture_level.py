"""Results over all runs of a capture: samples, their latencies, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from trace_timing import schema
from trace_timing.api.analysis.inputs import Inputs
from trace_timing.records.findings import FigureWarning
from trace_timing.records.manifest import Manifest
from trace_timing.stats.capture.growth import LatencyGrowth, latency_growth
from trace_timing.stats.latency.evidence import RecordedRun
from trace_timing.stats.latency.recording_effect import RecordingEffect, recording_effect
from trace_timing.stats.latency.run_table import control_rows
from trace_timing.stats.latency.sample_table import Sample, pairs_of, sample_row, samples_of
from trace_timing.stats.latency.warnings import latency_warnings

#: Runs of one trace, and its capture's manifest (None: others' traces).
Owned = tuple[Manifest | None, Sequence[RecordedRun]]


@dataclass(frozen=True)
class CaptureLevel:
    """Rows and warnings that need more than one trace."""

    samples: tuple[Sample, ...]
    tables: dict[str, pa.Table]
    warnings: tuple[FigureWarning, ...]
    effect: RecordingEffect | None
    growth: LatencyGrowth | None = None


def capture_level(inputs: Inputs, runs: Sequence[Owned]) -> CaptureLevel:
    """Samples of every capture, and of others' traces, in the order of the inputs."""
    by_capture = [
        samples_of(c, [r for owner, some in runs if owner is c.manifest for r in some])
        for c in inputs.captures
    ]
    others = samples_of(None, [r for owner, some in runs if owner is None for r in some])
    samples = (*(s for some in by_capture for s in some), *others)
    controls = [c for capture in inputs.captures for c in capture.controls]
    return CaptureLevel(
        samples=samples,
        tables={
            "samples": schema.SAMPLES.of_rows([sample_row(s) for s in samples]),
            "runs": schema.RUNS.of_rows([row for some in by_capture for row in control_rows(some)]),
        },
        warnings=tuple(w for some in by_capture for w in latency_warnings(some)),
        effect=recording_effect(pairs_of(samples), controls),
        growth=latency_growth(samples),
    )
