"""Evidence for each sample's latency: its recorded runs, and which of its controls may be used.

A control may be used if it succeeded, made as many tokens as the recorded run, has the same clock
(a total alone is always the host's), and none of its decode steps is missing. Controls with and
without a profiler attached to the process are kept apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import Clock, ControlTimes, CuptiState, RunRecord
from trace_timing.stages import Stage
from trace_timing.stats.latency.times import Times, decode_steps_of, has_all_steps
from trace_timing.timeline.integrity.table import FAILING

#: A sample of one rank.
SampleKey = tuple[str, int]
#: Codes of warnings that make a recorded run's figures unusable; others only qualify them.
FAULTS = FAILING | {"check_broken", "no_stage_ranges", "launch_missing", "overlapping_runs"}


@dataclass(frozen=True, kw_only=True)
class RecordedPart:
    """Of a run in which recording was off at times: its recorded steps, and estimates for all."""

    #: Numbers of the decode steps that were recorded and are counted (no guard steps).
    steps: frozenset[int]
    #: As the run's cut_ns, but for all steps: unrecorded ones interpolated.
    whole_cut_ns: Mapping[Stage, float]
    #: As the run's recorded_ns, but None for times with an unrecorded part; the time per decode
    #: step is the mean of the recorded ones.
    recorded_ns: Times
    #: Estimates of busy times that are not known over all steps.
    busy_estimate_ns: Times
    gpu_ops_estimate: float | None


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """One recorded run's figures for its sample."""

    sample_id: str
    repeat: int
    rank: int
    clock: Clock
    #: Ns by stage between a control's boundaries; of a partly recorded run, of its recorded steps.
    cut_ns: Mapping[Stage, int]
    #: Tiled windows, and the busy time in each.
    recorded_ns: Times
    busy_ns: Times
    kernel_sum_ns: Mapping[Stage, int]
    decode_steps: int
    #: Null where not all was recorded.
    gpu_ops: int | None
    #: None where all was recorded.
    part: RecordedPart | None = None
    #: Those of its warnings that are in FAULTS.
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One capture directory without its traces: its manifest and the records of its runs."""

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
    #: Controls with segments: made without a profiler, and with one attached.
    unprofiled: tuple[ControlTimes, ...] = ()
    attached: tuple[ControlTimes, ...] = ()
    #: Controls without segments, of a model over several devices: those made without a profiler, or
    #: else those with one attached.
    totals: tuple[ControlTimes, ...] = ()
    #: Number of controls left out, by reason.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: Whether usable controls made other tokens than the recorded run, though as many.
    tokens_differ: bool = False
    #: Whether usable controls made another number of decode steps than the recorded run or than
    #: each other.
    steps_differ: bool = False

    @property
    def clock(self) -> Clock | None:
        """What its times were taken with; None where it has none."""
        recorded = [run.clock for run in self.runs]
        timed = (*self.unprofiled, *self.attached, *self.totals)
        return next(iter((*recorded, *(control.clock for control in timed))), None)

    @property
    def controls(self) -> tuple[ControlTimes, ...]:
        """Its best controls: with segments and no profiler, else totals, else with one attached."""
        return self.unprofiled or self.totals or self.attached

    @property
    def good_runs(self) -> tuple[RecordedRun, ...]:
        """The recorded runs without a fault; all where each has one.

        Of these, the ones recorded whole, or else ones of which the same steps were recorded.
        """
        good = tuple(run for run in self.runs if not run.faults) or self.runs
        whole = tuple(run for run in good if run.part is None)
        return whole or tuple(run for run in good if _steps(run) == _steps(good[0]))


def _steps(run: RecordedRun) -> frozenset[int] | None:
    return None if run.part is None else run.part.steps


def evidence_of(capture: Capture | None, runs: Sequence[RecordedRun]) -> tuple[SampleEvidence, ...]:
    """The samples of one capture (or of others' traces: None), in the order first seen."""
    if capture is None:
        # Two runs in others' traces may have had different inputs.
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
    by_sample: dict[SampleKey, list[RunRecord]] = {}
    for record in records:
        if record.status == "ok":
            by_sample.setdefault((record.sample_id, record.rank), []).append(record)
    return by_sample


def detach_works(manifest: Manifest) -> bool:
    """Whether detaching CUPTI was shown to work, so that controls after a session are valid."""
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
    """Sort a sample's controls by how they may be used."""
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
    token_digests = {record.tokens_sha256 for record in (*records[:1], *(r for r, _ in used))} - {
        None
    }
    return SampleEvidence(
        key=key,
        runs=tuple(runs),
        record=next(iter((*records, *controls)), None),
        **_by_use([times for _, times in used]),
        left_out=dict(left_out),
        tokens_differ=len(token_digests) > 1,
        steps_differ=len(_step_counts(runs, [times for _, times in used])) > 1,
    )


def _step_counts(runs: Sequence[RecordedRun], controls: Sequence[ControlTimes]) -> set[int]:
    """Numbers of decode steps of one sample's runs; those of a recorded run without a fault."""
    recorded = {run.decode_steps for run in runs if not run.faults}
    return recorded | {decode_steps_of(control) for control in controls if control.segments}


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
    if not has_all_steps(times):
        return "control_step_missing"
    return "token_count_differs" if record.tokens_out != tokens else None


def _most_frequent(records: Sequence[RunRecord]) -> int | None:
    counts = Counter(record.tokens_out for record in records)
    return counts.most_common(1)[0][0] if counts else None
