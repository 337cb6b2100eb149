"""Can it be trusted: checks, source of the latencies and warnings, in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trace_timing.records.findings import FigureWarning
from trace_timing.report.latency_rows import source_sentence
from trace_timing.report.model import ReportData
from trace_timing.report.rows import StageRow


@dataclass(frozen=True)
class TrustLine:
    """One line of evidence, and whether it speaks for or against the figures."""

    kind: Literal["good", "warn", "bad"]
    text: str


@dataclass(frozen=True)
class CheckLine:
    """The checks over all runs: how many of the runs break one, as a sentence."""

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
    """The checks over all runs, as a sentence."""
    holds = data.recorded["checks_hold"].astype(bool)
    if not len(holds):
        return CheckLine(0, "No run was recorded, so there is nothing to check.")
    broken = int((~holds).sum())
    if broken:
        first = data.recorded.loc[~holds, "sample_id"].iloc[0]
        return CheckLine(
            broken, f"A check is broken on {broken} of {len(holds)} runs, first {first}."
        )
    return CheckLine(
        0,
        f"All checks hold on {len(holds)} run{'' if len(holds) == 1 else 's'}: stages add up to "
        "the window, busy and idle to each stage, kernels to the trace, to the nanosecond.",
    )


def trust_lines(data: ReportData, rows: list[StageRow]) -> list[TrustLine]:
    """Source of the latencies, unattributed time, clock and inputs that were left out."""
    return [*_source(data), *_unattributed(data, rows), *_clock(data), *_rejected(data)]


def _source(data: ReportData) -> Iterable[TrustLine]:
    if said := source_sentence(data):
        good = bool((data.samples["latency_source"] == "control").all())
        yield TrustLine("good" if good else "warn", said)


@dataclass(frozen=True)
class StretchedGroup:
    """How much recording stretched a group of stages."""

    group: str
    ratio: str
    samples: int


def stretched_groups(data: ReportData) -> list[StretchedGroup]:
    """Recorded ÷ control by group of stages; empty without controls."""
    told = data.summary.get("recording_effect") or {}
    return [
        StretchedGroup(group=name, ratio=_ratio(ratio), samples=ratio["samples"])
        for name, ratio in told.get("groups", {}).items()
    ]


def _ratio(ratio: Mapping[str, Any]) -> str:
    around = ratio.get("interval")
    ends = f" [{around['low']:.3f}, {around['high']:.3f}]" if around else ""
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
    """Warnings that say the same, once, with how often and where first."""
    groups: dict[tuple[str, str], list[FigureWarning]] = {}
    for warning in warnings:
        groups.setdefault((warning.code, warning.message), []).append(warning)
    return [
        WarningGroup(code, message, all_[0].evidence, all_[0].remedy, _where(all_[0]), len(all_))
        for (code, message), all_ in groups.items()
    ]


def _where(warning: FigureWarning) -> str:
    parts = [warning.sample_id, warning.stage]
    return ", ".join(part for part in parts if part)
