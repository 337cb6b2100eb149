"""The sample table, which people train on and quote: one row for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from trace_timing import schema
from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import ControlTimes
from trace_timing.stages import Stage
from trace_timing.stats.latency.evidence import Capture, RecordedRun, SampleEvidence, evidence_of
from trace_timing.stats.latency.record_columns import part_columns
from trace_timing.stats.latency.sample_latency import (
    NO_TIMES,
    Latency,
    counted_controls,
    half_width_frac,
    latency_as_recorded,
    latency_of_controls,
    pooled_of,
)
from trace_timing.stats.latency.scaled import Cut, Scale, fit_scale, scaled_by_total, scaled_latency
from trace_timing.stats.latency.times import (
    decode_steps_of,
    decode_times,
    first_token_of_control,
    in_ms,
    mean_times,
    stages_of_control,
)
from trace_timing.stats.methods.control_mean import PooledSpread
from trace_timing.units import NS_PER_MS

#: Reasons that qualify a scaled latency without making it unusable.
HARMLESS = frozenset({"scaled_by_total"})


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample's evidence and the latency that follows from it."""

    evidence: SampleEvidence
    latency: Latency
    capture: Capture | None = None

    @property
    def faults(self) -> tuple[str, ...]:
        """Faults of its recorded runs; empty if any run has none."""
        return tuple(sorted({f for run in self.evidence.good_runs for f in run.faults}))


def samples_of(capture: Capture | None, runs: Sequence[RecordedRun]) -> tuple[Sample, ...]:
    """The samples of one capture, or of others' traces (None), each with its latency."""
    evidence = evidence_of(capture, runs)
    # Controls with a profiler attached run under other conditions, so their spread is another.
    unprofiled = [e.controls for e in evidence if not _attached(e.controls)]
    pooled = pooled_of(unprofiled) or pooled_of([e.controls for e in evidence])
    scale = fit_scale(
        [pair for e in evidence if (pair := _pair(e))] or _neighbours(capture, evidence)
    )
    sequential = bool(capture and capture.manifest.settings.get("precision"))
    return tuple(
        Sample(
            evidence=e,
            latency=latency_of(e, pooled, scale, sequential=sequential),
            capture=capture,
        )
        for e in evidence
    )


def _attached(controls: Sequence[ControlTimes]) -> bool:
    return any(control.cupti == "attached" for control in controls)


def latency_of(
    sample: SampleEvidence,
    pooled: PooledSpread | None,
    scale: Scale | None,
    *,
    sequential: bool = False,
) -> Latency:
    """A sample's latency by its best evidence: controls, scaled windows, controls with a profiler
    attached, or recorded windows."""
    recorded = cut_of(sample) if sample.runs else None
    controls = sample.controls
    measured = latency_of_controls(controls, pooled, sequential=sequential) if controls else None
    if measured and sample.unprofiled:
        return measured
    if measured and sample.totals:
        return scaled_by_total(recorded, measured) if recorded else measured
    scaled = scaled_latency(recorded, scale) if recorded and scale else None
    if scaled and not (scaled.reasons and measured):
        return scaled
    return measured or _as_recorded(sample)


def _as_recorded(sample: SampleEvidence) -> Latency:
    if not sample.runs:
        return Latency(
            source="recorded", ns=dict(NO_TIMES), lo_ns=dict(NO_TIMES), hi_ns=dict(NO_TIMES),
            reasons=("no_usable_run",),
        )  # fmt: skip
    return latency_as_recorded(
        mean_times([r.recorded_ns for r in sample.good_runs]),
        mean_times([r.busy_ns for r in sample.good_runs]),
    )


def cut_of(sample: SampleEvidence) -> Cut:
    """The mean of a sample's recorded runs without a fault, cut at a control's boundaries."""
    runs = sample.good_runs
    first = [ns for run in runs if (ns := run.recorded_ns["T_TTFT"]) is not None]
    ttft = fmean(first) if first else None
    steps, parts = runs[0].decode_steps, [run.part for run in runs if run.part]
    if not parts:
        return Cut(by_stage=_means([run.cut_ns for run in runs]), steps=steps, ttft_ns=ttft)
    return Cut(
        by_stage=_means([run.cut_ns for run in runs]),
        steps=len(parts[0].steps),
        ttft_ns=ttft,
        whole=Cut(
            by_stage=_means([part.whole_cut_ns for part in parts]), steps=steps, ttft_ns=ttft
        ),
    )


def _control_cut(sample: SampleEvidence, steps: frozenset[int] | None) -> Cut:
    """The mean of a sample's middle controls, as in its latency.

    Args:
        steps: numbers of the decode steps to compare with recorded ones; None for all.
    """
    controls = counted_controls(sample.unprofiled)
    first = [ns for control in controls if (ns := first_token_of_control(control)) is not None]
    whole = Cut(
        by_stage=_means([stages_of_control(control) for control in controls]),
        steps=decode_steps_of(controls[0]),
        ttft_ns=sum(first) / len(first) if first else None,
    )
    if steps is None:
        return whole
    made = decode_times(controls[0]).keys()
    return replace(
        whole,
        by_stage=_means([stages_of_control(control, steps) for control in controls]),
        steps=len(steps & made),
        whole=whole,
    )


def _means(runs: Sequence[Mapping[Stage, float]]) -> dict[Stage, float]:
    """Mean of each stage over the runs; a stage counts 0 in a run without it."""
    stages = dict.fromkeys(stage for run in runs for stage in run)
    return {stage: fmean(run.get(stage, 0) for run in runs) for stage in stages}


def _steps_of(sample: SampleEvidence) -> frozenset[int] | None:
    """Numbers of the decode steps in its recorded figures; None for all."""
    part = sample.good_runs[0].part
    return None if part is None else part.steps


def _pair(sample: SampleEvidence) -> tuple[Cut, Cut] | None:
    """(recorded, control) of a sample that has both, else None."""
    if not sample.unprofiled or not sample.runs or sample.good_runs[0].faults:
        return None
    return cut_of(sample), _control_cut(sample, _steps_of(sample))


def pairs_of(samples: Sequence[Sample]) -> list[tuple[Cut, Cut]]:
    """(recorded, control) of each sample that has both."""
    return [pair for sample in samples if (pair := _pair(sample.evidence))]


def _neighbours(
    capture: Capture | None, samples: Sequence[SampleEvidence]
) -> list[tuple[Cut, Cut]]:
    """Pairs for calls that could not be repeated: each recorded one with the nearest controls.

    Their inputs differ; leaving each pair out (`scaled`) shows by how much that matters.
    """
    if capture is None:
        return []
    at = {(r.sample_id, r.rank): r.ordinal for r in capture.recorded if r.ordinal is not None}
    made: dict[int, list[tuple[int, SampleEvidence]]] = {}
    for sample in samples:
        if sample.unprofiled and sample.record and sample.record.ordinal is not None:
            made.setdefault(sample.key[1], []).append((sample.record.ordinal, sample))
    pairs = []
    for sample in samples:
        nearby = made.get(sample.key[1], [])
        ordinal = at.get(sample.key)
        if ordinal is not None and nearby and sample.runs and not sample.good_runs[0].faults:
            _, nearest = min(nearby, key=lambda one: abs(one[0] - ordinal))
            pairs.append((cut_of(sample), _control_cut(nearest, _steps_of(sample))))
    return pairs


def sample_row(sample: Sample) -> dict[str, Any]:
    """The sample's row of schema.SAMPLES, with its metadata as further columns."""
    latency, evidence, record = sample.latency, sample.evidence, sample.evidence.record
    runs = evidence.good_runs
    steps = _decode_steps(evidence)
    usable = is_usable(sample)
    no_step = ["no_decode_step"] if steps == 0 else []
    row: dict[str, Any] = {
        "sample_id": evidence.key[0],
        "rank": evidence.key[1],
        **_latency_columns(latency),
        **in_ms("_busy", mean_times([r.busy_ns for r in runs])),
        **in_ms(
            "_recorded", mean_times([r.part.recorded_ns if r.part else r.recorded_ns for r in runs])
        ),
        **part_columns(runs),
        "recorded_runs": len(evidence.runs),
        "decode_steps": steps,
        "input_tokens": record.tokens_in if record else None,
        "output_tokens": record.tokens_out if record else None,
        "output_tokens_total": record.tokens_out_total if record else None,
        "usable": usable,
        "usable_decode": usable and bool(steps),
        "reasons": ",".join([*latency.reasons, *sample.faults, *no_step]),
        "clock": evidence.clock,
        **identity(sample.capture.manifest if sample.capture else None),
    }
    metadata = record.metadata if record else {}
    return {**{_free_name(name): value for name, value in metadata.items()}, **row}


def is_usable(sample: Sample) -> bool:
    """Whether its latency may be a label; if scaled, its recorded runs must have no fault."""
    latency = sample.latency
    if latency.source == "control":
        return "controls_interval_wide" not in latency.reasons
    return latency.source == "scaled" and not {*latency.reasons, *sample.faults} - HARMLESS


def _latency_columns(latency: Latency) -> dict[str, Any]:
    undisturbed = latency.undisturbed_step_ns
    return {
        **in_ms("", latency.ns),
        **in_ms("_lo", latency.lo_ns),
        **in_ms("_hi", latency.hi_ns),
        "latency_source": latency.source,
        "interval_from": latency.interval_from,
        "controls": latency.controls,
        "half_width_frac": half_width_frac(latency, "T_total"),
        "T_step_undisturbed_ms": None if undisturbed is None else undisturbed / NS_PER_MS,
    }


def _decode_steps(evidence: SampleEvidence) -> int | None:
    if evidence.runs:
        return evidence.good_runs[0].decode_steps
    cut = [control for control in evidence.controls if control.segments]
    return decode_steps_of(cut[0]) if cut else None


def identity(manifest: Manifest | None) -> dict[str, str | None]:
    """Model, device and versions, from the capture's manifest; nulls for others' traces."""
    columns = dict.fromkeys(schema.IDENTITY)
    if manifest is None:
        return columns
    settings, model, environment = manifest.settings, manifest.model, manifest.environment
    packages = environment.get("packages") or {}
    devices = environment.get("devices") or []
    return {
        "model": settings.get("model") or model.get("name") or model.get("architecture"),
        "revision": model.get("revision"),
        "dtype": model.get("dtype") or settings.get("dtype"),
        "attention": model.get("attention") or settings.get("attn"),
        "device": devices[0].get("name") if devices else "CPU",
        "torch": packages.get("torch"),
        "transformers": packages.get("transformers"),
        "cuda": environment.get("cuda"),
        "driver": environment.get("driver"),
    }


def _free_name(name: str) -> str:
    return f"meta_{name}" if name in schema.SAMPLES.names else name
