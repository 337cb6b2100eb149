"""Whether the figures can be trusted: checks, source of the latencies, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trace_timing.records.findings import FigureWarning
from trace_timing.report.findings import plus_minus
from trace_timing.report.latency_rows import half_frac, source_sentence
from trace_timing.report.model import ReportData
from trace_timing.report.rows import StageRow


@dataclass(frozen=True)
class TrustLine:
    """One line of evidence, and whether it speaks for or against the figures."""

    kind: Literal["good", "warn", "bad"]
    text: str


@dataclass(frozen=True)
class CheckLine:
    """Result of the checks over all runs: the number of runs that break one, and a sentence."""

    broken: int
    sentence: str


@dataclass(frozen=True)
class WarningGroup:
    """Warnings of one code and message."""

    code: str
    message: str
    evidence: str
    remedy: str
    where: str
    times: int


def check_line(data: ReportData) -> CheckLine:
    """Summarize the checks over all runs."""
    holds = data.recorded["checks_hold"].astype(bool)
    if not len(holds):
        return CheckLine(0, "No run was recorded, so there is nothing to check.")
    broken = int((~holds).sum())
    if broken:
        first = data.recorded.loc[~holds, "sample_id"].iloc[0]
        return CheckLine(
            broken, f"A check is broken on {broken} of {len(holds)} runs, first {first}."
        )
    runs = f"All checks hold on {len(holds)} run{'' if len(holds) == 1 else 's'}"
    if (data.recorded["clock"] == "host").all():
        # Without a GPU timeline there is neither busy nor idle time, and no kernel.
        return CheckLine(0, f"{runs}: stages add up to the window, to the nanosecond.")
    return CheckLine(
        0,
        f"{runs}: stages add up to the window, busy and idle to each stage, kernels to the trace, "
        "to the nanosecond.",
    )


def trust_sentence(data: ReportData) -> TrustLine:
    """One sentence: whether the figures may be used, on what evidence, what would improve them."""
    check, rejected = check_line(data), len(data.summary.get("rejections", ()))
    if check.broken:
        return TrustLine("bad", f"Do not use these figures: {check.sentence.removesuffix('.')}.")
    measured, usable = _evidence(data), int(data.samples["usable"].astype(bool).sum())
    checks = f", and all checks hold on {_count(len(data.recorded), 'recorded run')}"
    text = measured + (checks if len(data.recorded) else "")
    samples = len(data.samples)
    kind: Literal["good", "warn", "bad"] = "good" if usable == samples else "warn"
    if usable < samples:
        text += "; not usable as labels" if not usable else ""
        text += (
            f"; {usable:,} of {_count(samples, 'sample')} can be used as labels" if usable else ""
        )
    if (half := _total_half_frac(data)) is not None and half > WIDE_FRAC:
        kind = "warn"
        link = ", but" if usable == samples else "; and"
        text += f"{link} the total is known to {plus_minus(half)} only: {_NARROWER}"
    if rejected:
        kind = "bad"
        text += f"; {_count(rejected, 'input')} could not be read"
    return TrustLine(kind, f"{text}.")


#: From this half-width on the sentence mentions the interval; scaled latencies with a wider one
#: are no labels.
WIDE_FRAC = 0.1
_NARROWER = "more runs (--control) on a quiet machine narrow it"
_EVIDENCE = {
    "control": "Measured without the profiler",
    "scaled": "Recorded times scaled by other samples' unprofiled runs",
    "attached": "Upper bounds, timed while the profiler was attached to the process",
    "recorded": "Upper bounds, taken from recorded runs alone: recording slows the host",
}


def _evidence(data: ReportData) -> str:
    """How the latencies were measured, with numbers of samples where sources differ."""
    counts = data.samples["latency_source"].value_counts()
    sources = [
        words + ("" if len(counts) == 1 else f" ({counts[source]:,})")
        for source, words in _EVIDENCE.items()
        if source in counts
    ]
    return "; ".join(sources) or "No sample has a time"


def _total_half_frac(data: ReportData) -> float | None:
    known = data.samples[data.samples["T_total_ms"].notna()]
    return half_frac(known, "T_total") if len(known) else None


def _count(number: int, of: str) -> str:
    return f"{number:,} {of}{'' if number == 1 else 's'}"


def trust_lines(data: ReportData, rows: list[StageRow]) -> list[TrustLine]:
    """Source of the latencies, unattributed time, clock and inputs that were left out."""
    return [*_source(data), *_unattributed(data, rows), *_clock(data), *_rejected(data)]


def _source(data: ReportData) -> Iterable[TrustLine]:
    if text := source_sentence(data):
        good = bool((data.samples["latency_source"] == "control").all())
        yield TrustLine("good" if good else "warn", text)


@dataclass(frozen=True)
class StretchedGroup:
    """How much longer recording made a group of stages."""

    group: str
    ratio: str
    samples: int


def stretched_groups(data: ReportData) -> list[StretchedGroup]:
    """Recorded ÷ control by group of stages; empty without controls."""
    effect = data.summary.get("recording_effect") or {}
    return [
        StretchedGroup(group=name, ratio=_ratio(ratio), samples=ratio["samples"])
        for name, ratio in effect.get("groups", {}).items()
    ]


def _ratio(ratio: Mapping[str, Any]) -> str:
    """`×1.234 [1.200, 1.260]`."""
    interval = ratio.get("interval")
    ends = f" [{interval['low']:.3f}, {interval['high']:.3f}]" if interval else ""
    return f"×{ratio['median']:.3f}{ends}"


def _unattributed(data: ReportData, rows: list[StageRow]) -> Iterable[TrustLine]:
    lost = data.stages[data.stages["stage"] == "unattributed"]
    ops, whole = int(lost["gpu_ops"].sum()), int(data.stages["gpu_ops"].sum())
    if not ops:
        if whole:
            yield TrustLine("good", "Every GPU op is in one stage.")
        return
    reasons = ", ".join(sorted({str(r) for r in lost["reason"].dropna()}))
    yield TrustLine("warn", f"{ops:,} of {whole:,} GPU ops are unattributed: {reasons}.")


def _clock(data: ReportData) -> Iterable[TrustLine]:
    host = int((data.recorded["clock"] == "host").sum())
    if host:
        yield TrustLine("warn", f"clock = host on {host} runs: no GPU timeline in their traces.")


def _rejected(data: ReportData) -> Iterable[TrustLine]:
    rejected = list(data.summary.get("rejections", ()))
    if rejected:
        yield TrustLine("bad", f"{len(rejected)} inputs could not be read and are not in here.")


def warning_groups(warnings: Iterable[FigureWarning]) -> list[WarningGroup]:
    """Group warnings of one code and message, each with evidence and place of the first."""
    groups: dict[tuple[str, str], list[FigureWarning]] = {}
    for warning in warnings:
        groups.setdefault((warning.code, warning.message), []).append(warning)
    return [
        WarningGroup(code, message, all_[0].evidence, all_[0].remedy, _where(all_[0]), len(all_))
        for (code, message), all_ in groups.items()
    ]


def _where(warning: FigureWarning) -> str:
    """Sample and stage of a warning, as far as it names them."""
    return ", ".join(name for name in (warning.sample_id, warning.stage) if name)


#: A defect, or a mistake in the request: other warnings follow from these.
_FIRST = ("check_broken", "pattern_fits_nothing", "pattern_fits_other_stage")
#: Codes after which no latency can be quoted, worst first; failed integrity checks come before.
_UNUSABLE = ("no_stage_ranges", "clock_host", "no_control", "controls_attached")


def worst_first(groups: Iterable[WarningGroup], data: ReportData) -> list[WarningGroup]:
    """Sort warnings by how much of the figures they put in doubt.

    A broken check, a failed integrity check, no usable latency, then the others, the most frequent
    first.
    """
    traces = data.summary.get("traces") or ()
    failed = {code for trace in traces for code in trace["integrity"]["failed"]}

    def rank(group: WarningGroup) -> tuple[int, int]:
        """Sort key: severity, then frequency."""
        if group.code in _FIRST:
            return 0, -group.times
        if group.code in failed:
            return 1, -group.times
        if group.code in _UNUSABLE:
            return 2 + _UNUSABLE.index(group.code), -group.times
        return 2 + len(_UNUSABLE), -group.times

    return sorted(groups, key=rank)
