"""What is known of each sample: its recorded runs, and which of its controls may be used.

A control counts where it succeeded, made as many tokens as the recorded run, and has its clock (a
total alone is always the host's). Whether a profiler was attached to the process says how it
counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import Clock, ControlTimes, CuptiState, RunRecord
from trace_timing.stages import Stage
from trace_timing.stats.latency.times import Times
from trace_timing.timeline.integrity.table import FAILING

#: A sample of one rank.
SampleKey = tuple[str, int]
#: Codes of warnings that spoil a recorded run's figures; others qualify how to read them.
FAULTS = FAILING | {"check_broken", "no_stage_ranges", "launch_missing", "overlapping_runs"}


@dataclass(frozen=True, kw_only=True)
class RecordedPart:
    """Of a run in which recording was switched off at times: what was recorded, and estimates."""

    #: Numbers of the decode steps that were recorded and are counted.
    steps: frozenset[int]
    #: As the run's cut_ns, over all steps: unrecorded ones as their recorded neighbours.
    whole_cut_ns: Mapping[Stage, float]
    #: As the run's recorded_ns, without those that have an unrecorded part; a decode step is the
    #: mean of the recorded ones.
    recorded_ns: Times
    #: Of busy times that are not known over all steps.
    busy_estimate_ns: Times
    gpu_ops_estimate: float | None


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """What one recorded run says of its sample."""

    sample_id: str
    repeat: int
    rank: int
    clock: Clock
    #: Its timeline by stage, cut at a control's boundaries; of its recorded steps.
    cut_ns: Mapping[Stage, int]
    #: Its tiled windows, and the busy time in each.
    recorded_ns: Times
    busy_ns: Times
    kernel_sum_ns: Mapping[Stage, int]
    decode_steps: int
    #: Null where not all was recorded.
    gpu_ops: int | None
    #: Where not all was recorded, and only there.
    part: RecordedPart | None = None
    #: Codes of the warnings that spoil its figures.
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One capture directory, its traces apart: what it was made with, and every run's record."""

    manifest: Manifest
    #: Where it lies; no two captures of an analysis have the same.
    folder: str = ""
    controls: tuple[RunRecord, ...] = ()
    recorded: tuple[RunRecord, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SampleEvidence:
    """One sample: its recorded runs, its records, and its controls by how they may be used."""

    key: SampleKey
    runs: tuple[RecordedRun, ...] = ()
    record: RunRecord | None = None
    #: With segments, made without a profiler; or with one attached.
    unprofiled: tuple[ControlTimes, ...] = ()
    attached: tuple[ControlTimes, ...] = ()
    #: Without segments, of a model over several devices: all made without a profiler, or, where
    #: there are none such, all with one attached.
    totals: tuple[ControlTimes, ...] = ()
    #: Controls left out, by reason.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: Whether its usable controls' tokens have other values than the recorded run's.
    tokens_differ: bool = False

    @property
    def clock(self) -> Clock | None:
        """What its times were taken with; None where it has none."""
        recorded = [run.clock for run in self.runs]
        timed = (*self.unprofiled, *self.attached, *self.totals)
        return next(iter((*recorded, *(control.clock for control in timed))), None)

    @property
    def controls(self) -> tuple[ControlTimes, ...]:
        """The best that it has: with segments and without a profiler, totals, then attached."""
        return self.unprofiled or self.totals or self.attached

    @property
    def good_runs(self) -> tuple[RecordedRun, ...]:
        """The recorded runs without a fault; all where each has one.

        Of these, those recorded whole, or else those of which the same steps were recorded.
        """
        good = tuple(run for run in self.runs if not run.faults) or self.runs
        whole = tuple(run for run in good if run.part is None)
        return whole or tuple(run for run in good if _steps(run) == _steps(good[0]))


def _steps(run: RecordedRun) -> frozenset[int] | None:
    return None if run.part is None else run.part.steps


def evidence_of(capture: Capture | None, runs: Sequence[RecordedRun]) -> tuple[SampleEvidence, ...]:
    """The samples of one capture (or of others' traces: None), in the order first seen."""
    if capture is None:
        # Nothing says that two of others' runs had the same input.
        return tuple(SampleEvidence(key=(r.sample_id, r.rank), runs=(r,)) for r in runs)
    controls, records = _by_sample(capture.controls), _by_sample(capture.recorded)
    own: dict[SampleKey, list[RecordedRun]] = {}
    for run in runs:
        own.setdefault((run.sample_id, run.rank), []).append(run)
    works = detach_works(capture.manifest)
    return tuple(
        _sample(key, own.get(key, []), records.get(key, []), controls.get(key, []), works)
        for key in _in_order(controls, records, own)
    )


def _in_order(*tables: Mapping[SampleKey, Any]) -> Iterator[SampleKey]:
    return iter(dict.fromkeys(key for table in tables for key in table))


def _by_sample(records: Sequence[RunRecord]) -> dict[SampleKey, list[RunRecord]]:
    found: dict[SampleKey, list[RunRecord]] = {}
    for record in records:
        if record.status == "ok":
            found.setdefault((record.sample_id, record.rank), []).append(record)
    return found


def detach_works(manifest: Manifest) -> bool:
    """Whether controls after a session count as made without a profiler."""
    return (manifest.settings.get("detach") or {}).get("works") is not False


def cupti_state(control: ControlTimes, *, works: bool) -> CuptiState:
    """A control's state; "detached" is believed only where the detach was shown to work."""
    return "attached" if control.cupti == "detached" and not works else control.cupti


def _sample(
    key: SampleKey,
    runs: Sequence[RecordedRun],
    records: Sequence[RunRecord],
    controls: Sequence[RunRecord],
    works: bool,
) -> SampleEvidence:
    clock = runs[0].clock if runs else None
    tokens = records[0].tokens_out if records else _most_frequent(controls)
    left_out: Counter[str] = Counter()
    used: list[tuple[RunRecord, ControlTimes]] = []
    for record in controls:
        times = record.control
        if times is None or times.bare:
            continue
        if reason := _unfit(record, times, clock, tokens):
            left_out[reason] += 1
        else:
            used.append((record, replace(times, cupti=cupti_state(times, works=works))))
    said = {record.tokens_sha256 for record in (*records[:1], *(r for r, _ in used))} - {None}
    return SampleEvidence(
        key=key,
        runs=tuple(runs),
        record=next(iter((*records, *controls)), None),
        **_by_use([times for _, times in used]),
        left_out=dict(left_out),
        tokens_differ=len(said) > 1,
    )


def _by_use(controls: Sequence[ControlTimes]) -> dict[str, tuple[ControlTimes, ...]]:
    cut = [c for c in controls if c.segments]
    totals = [c for c in controls if not c.segments]
    return {
        "unprofiled": tuple(c for c in cut if c.cupti != "attached"),
        "attached": tuple(c for c in cut if c.cupti == "attached"),
        "totals": tuple([c for c in totals if c.cupti != "attached"] or totals),
    }


def _unfit(
    record: RunRecord, times: ControlTimes, clock: Clock | None, tokens: int | None
) -> str | None:
    if clock is not None and times.segments and times.clock != clock:
        return "other_clock"
    return "token_count_differs" if record.tokens_out != tokens else None


def _most_frequent(records: Sequence[RunRecord]) -> int | None:
    counts = Counter(record.tokens_out for record in records)
    return counts.most_common(1)[0][0] if counts else None
