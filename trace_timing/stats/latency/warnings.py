"""Warnings about a capture's latencies: which evidence is missing or weak, and the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trace_timing.records.findings import FigureWarning
from trace_timing.stats.latency.sample_latency import BOUND_FRAC
from trace_timing.stats.latency.sample_table import Sample
from trace_timing.stats.latency.times import Times, mean_times
from trace_timing.units import NS_PER_MS

#: Time of the sample table → its stages; their busy time should not exceed the latency.
_STAGES = {
    "T_vision_total": ("vision_encoder", "projector", "vision"),
    "T_LLM_prefill": ("prefill",),
    "T_LLM_decode": ("decode",),
    "T_total": None,
}
CONTROLS_FIRST = "capture with --order controls-first, which measures before the profiler is used"


def latency_warnings(samples: Sequence[Sample]) -> Iterator[FigureWarning]:
    """The worst first: those that make latencies unusable, then those that qualify them."""
    yield from _attached(samples)
    yield from _without_control(samples)
    yield from _other_steps(samples)
    yield from _wide(samples)
    yield from _scaled(samples)
    yield from _busy_above(samples)
    yield from _other_tokens(samples)


def _attached(samples: Sequence[Sample]) -> Iterator[FigureWarning]:
    """Latencies measured with the profiler attached."""
    attached = [s for s in samples if s.latency.source == "attached"]
    if not attached:
        return
    detach = (
        (attached[0].capture.manifest.settings.get("detach") or {}) if attached[0].capture else {}
    )
    why = f"; {detach['why_not']}" if detach.get("why_not") else ""
    yield FigureWarning(
        code="controls_attached",
        message="The profiler was attached to the process while controls were timed, so these "
        "latencies are too long: on an H200 by a fifth.",
        evidence=f"{len(attached)} of {len(samples)} samples{_probes(detach)}{why}",
        remedy=CONTROLS_FIRST,
    )


def _probes(detach: dict[str, object]) -> str:
    ratio = detach.get("attached_ratio")
    if not isinstance(ratio, dict) or ratio.get("median") is None:
        return ""
    return f"; an empty launch took ×{ratio['median']:.2f} as long after a session as before"


def _without_control(samples: Sequence[Sample]) -> Iterator[FigureWarning]:
    """Samples whose times are those of recorded runs."""
    captured = [s for s in samples if s.capture]
    alone = [s for s in captured if s.latency.source == "recorded"]
    if alone:
        yield FigureWarning(
            code="no_control",
            message="Samples have no control, so their times are those of recorded runs: too long "
            "by what recording cost.",
            evidence=f"{len(alone)} of {len(captured)} samples",
            remedy="capture with --control 2 or more",
        )


def _wide(samples: Sequence[Sample]) -> Iterator[FigureWarning]:
    """Samples whose controls differ too much."""
    measured = [s for s in samples if s.latency.source == "control"]
    wide = [s for s in measured if "controls_interval_wide" in s.latency.reasons]
    if wide:
        most = max(s.latency.half_width_frac or 0 for s in wide)
        yield FigureWarning(
            code="controls_interval_wide",
            message=f"Controls differ so much that their total is known to no better than ± "
            f"{BOUND_FRAC:.0%}: no label.",
            evidence=f"{len(wide)} of {len(samples)} samples, worst ± {most:.0%}",
            remedy="capture on a quieter machine, or with --precision 10%",
        )


def _scaled(samples: Sequence[Sample]) -> Iterator[FigureWarning]:
    """Samples whose latency was scaled."""
    by_total = [s for s in samples if "scaled_by_total" in s.latency.reasons]
    if by_total:
        yield FigureWarning(
            code="scaled_by_total",
            message="The model spans several devices, so controls time whole runs alone; stages "
            "are recorded windows scaled to that total.",
            evidence=f"{len(by_total)} samples",
            remedy="take the total as measured, the stages as shares of it",
        )
    for code, how in (
        ("scaled_interval_wide", "by an interval wider than ± 10 %"),
        ("scaled_without_interval", "from fewer than three samples that have both"),
    ):
        concerned = [s for s in samples if code in s.latency.reasons]
        if concerned:
            yield FigureWarning(
                code=code,
                message=f"Scaled latencies are known {how}.",
                evidence=f"{len(concerned)} of {len(samples)} samples",
                remedy="take controls of more samples",
            )


def _busy_above(samples: Sequence[Sample]) -> Iterator[FigureWarning]:
    """Busy time above the latency: recording stretched the device's work too."""
    for name, stages in _STAGES.items():
        over = [s for s in samples if s.latency.source == "control" and _excess(s, name) > 0]
        if not over:
            continue
        worst = max(over, key=lambda s: _excess(s, name))
        busy = mean_times([run.busy_ns for run in worst.evidence.good_runs])
        sums = worst.evidence.good_runs[0].kernel_sum_ns
        durations = sum(sums.values() if stages is None else (sums.get(s, 0) for s in stages))  # type: ignore[call-overload]
        yield FigureWarning(
            code="busy_above_latency",
            message=f"{name}_busy_ms is longer than {name}_ms: recording stretched the device's "
            "work, too.",
            evidence=f"{len(over)} of {len(samples)} samples, worst {worst.evidence.key[0]}: busy "
            f"{_ms(busy, name)}, latency {_ms(worst.latency.ns, name)}, durations of its "
            f"ops sum to {durations / NS_PER_MS:.3f} ms",
            remedy="use the latency; read busy times as upper bounds",
            sample_id=worst.evidence.key[0],
            stage=None if stages is None else stages[0],
        )


def _excess(sample: Sample, name: str) -> float:
    busy = mean_times([run.busy_ns for run in sample.evidence.good_runs])[name]
    latency = sample.latency.ns[name]
    return busy - latency if busy is not None and latency is not None else 0.0


def _ms(times: Times, name: str) -> str:
    ns = times[name]
    return "n/a" if ns is None else f"{ns / NS_PER_MS:.3f} ms"


def _other_steps(samples: Sequence[Sample]) -> Iterator[FigureWarning]:
    """Controls with missing steps, and those with another number of decode steps."""
    if left_out := _left_out(samples, "control_step_missing"):
        yield FigureWarning(
            code="control_step_missing",
            message="Steps are missing in controls or not in order, by their numbers: they do not "
            "count.",
            evidence=left_out,
            remedy="capture these samples again",
        )
    differing = [s for s in samples if s.evidence.steps_differ]
    if differing:
        yield FigureWarning(
            code="control_steps_differ",
            message="Runs of one sample made as many tokens in other numbers of decode steps, so "
            "their decode is not the same work.",
            evidence=f"{len(differing)} of {len(samples)} samples, first "
            f"{differing[0].evidence.key[0]}",
            remedy="with assisted or speculative decoding take the total; else capture again",
        )


def _other_tokens(samples: Sequence[Sample]) -> Iterator[FigureWarning]:
    """Controls by another clock or with other tokens than the recorded run."""
    if left_out := _left_out(samples, "other_clock"):
        yield FigureWarning(
            code="other_clock",
            message="Controls were timed by another clock than the recorded run: they do not "
            "count.",
            evidence=left_out,
            remedy="capture these samples again, controls and recorded run on one device",
        )
    if left_out := _left_out(samples, "token_count_differs"):
        yield FigureWarning(
            code="token_count_differs",
            message="Controls made another number of tokens than the recorded run: they do not "
            "count.",
            evidence=left_out,
            remedy="generate greedily or with a fixed seed",
        )
    differing = [s for s in samples if s.evidence.tokens_differ]
    if differing:
        yield FigureWarning(
            code="tokens_differ",
            message="Runs of one sample made as many tokens, but other ones; times are compared "
            "all the same.",
            evidence=f"{len(differing)} of {len(samples)} samples",
            remedy="if routing or stopping depends on them, generate greedily or with a fixed "
            "seed, and with kernels that repeat to the bit, as cuDNN's attention does not",
        )


def _left_out(samples: Sequence[Sample], reason: str) -> str:
    """How many controls were left out for a reason; empty for none."""
    number = sum(sample.evidence.left_out.get(reason, 0) for sample in samples)
    return f"{number} {'control' if number == 1 else 'controls'}" if number else ""
