"""Can it be trusted: laws, observer effect and doubts, in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trace_timing.records import Doubt
from trace_timing.report.model import ReportData
from trace_timing.report.rows import StageRow


@dataclass(frozen=True)
class TrustLine:
    """One line of evidence, and whether it speaks for or against the figures."""

    kind: Literal["good", "warn", "bad"]
    text: str


@dataclass(frozen=True)
class LawLine:
    """How many runs keep all laws."""

    broken: int
    sentence: str


@dataclass(frozen=True)
class DoubtGroup:
    """Doubts of one code and message."""

    code: str
    message: str
    evidence: str
    remedy: str
    where: str
    times: int


def law_line(data: ReportData) -> LawLine:
    """The laws over all runs, as a sentence."""
    holds = data.samples["laws_hold"].astype(bool)
    broken = int((~holds).sum())
    if broken:
        first = data.samples.loc[~holds, "sample_id"].iloc[0]
        return LawLine(broken, f"A law is broken on {broken} of {len(holds)} runs, first {first}.")
    return LawLine(
        0,
        f"All laws hold on {len(holds)} run{'' if len(holds) == 1 else 's'}: stages add up to the "
        "window, busy and idle to each stage, kernels to the trace, to the nanosecond.",
    )


def trust_lines(data: ReportData, rows: list[StageRow]) -> list[TrustLine]:
    """Observer effect, unattributed time, clock and inputs that were left out."""
    return [*_observer(rows), *_unattributed(data, rows), *_clock(data), *_rejected(data)]


def _observer(rows: list[StageRow]) -> Iterable[TrustLine]:
    if all(row.observer_effect is None for row in rows):
        yield TrustLine("warn", "No unprofiled control: the cost of profiling is not known.")


@dataclass(frozen=True)
class ObservedGroup:
    """What profiling did to a group of stages."""

    group: str
    effect: str
    pairs: int


def observed_groups(data: ReportData) -> list[ObservedGroup]:
    """The observer effect by group of stages; empty without controls."""
    judged = data.summary.get("observer_effect") or {}
    return [
        ObservedGroup(
            group=group["group"],
            effect=_ratio(group["effect"]),
            pairs=group["effect"]["runs"],
        )
        for group in judged.get("groups", ())
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
    host = int((data.samples["clock"] == "host").sum())
    if host:
        yield TrustLine("warn", f"clock = host on {host} runs: no GPU timeline in their traces.")


def _rejected(data: ReportData) -> Iterable[TrustLine]:
    rejected = list(data.summary.get("rejections", ()))
    if rejected:
        yield TrustLine("bad", f"{len(rejected)} inputs could not be read and are not in here.")


def doubt_groups(doubts: Iterable[Doubt]) -> list[DoubtGroup]:
    """Doubts that say the same, once, with how often and where first."""
    groups: dict[tuple[str, str], list[Doubt]] = {}
    for doubt in doubts:
        groups.setdefault((doubt.code, doubt.message), []).append(doubt)
    return [
        DoubtGroup(code, message, all_[0].evidence, all_[0].remedy, _where(all_[0]), len(all_))
        for (code, message), all_ in groups.items()
    ]


def _where(doubt: Doubt) -> str:
    parts = [doubt.sample_id, doubt.stage]
    return ", ".join(part for part in parts if part)
