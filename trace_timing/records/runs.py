"""Run records: one line of `runs.rank<k>.jsonl` each, written by recording, read by analysis."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from trace_timing.records.encoding import damaged, decode
from trace_timing.records.segments import ControlSegment, PackedSegments
from trace_timing.stages import Stage

Role = Literal["recorded", "control"]


Clock = Literal["device", "host"]


#: CUPTI's state at a control: not used in the process before (`never`); used, and detached since by
#: a method shown to work (`detached`); used and not detached, or not shown to be (`attached`).
CuptiState = Literal["never", "detached", "attached"]


Status = Literal["ok", "failed"]


#: Longest time of a control that is read, 104 days: sums of many still fit 64 bits.
MOST_NS = 2**53


@dataclass(frozen=True, kw_only=True)
class ControlTimes:
    """A control's times. A bare control has only the total and no segments."""

    total_ns: int
    segments: Sequence[ControlSegment] = ()
    bare: bool = False
    clock: Clock = "device"
    cupti: CuptiState = "never"
    #: Number of the control within its sample, from 0, in the order made.
    index: int = 0


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One line of `runs.rank<k>.jsonl`: one generate() call, recorded or control."""

    sample_id: str
    role: Role
    repeat: int
    rank: int = 0
    status: Status = "ok"
    #: Why it failed; None for an ok run.
    reason: str | None = None
    #: Name below traces/ without its ending: `<name>.json.gz` and/or `<name>.parquet`.
    trace: str | None = None
    #: SHA-256 of the stored file(s), by ending: {"json.gz": "…"}.
    sha256: Mapping[str, str] = field(default_factory=dict)
    tokens_in: int | None = None
    #: New positions of the longest row, and summed over rows.
    tokens_out: int | None = None
    tokens_out_total: int | None = None
    #: Digest of the output's token ids, to compare runs of one sample.
    tokens_sha256: str | None = None
    #: Order of the run within the process, counted from 0 over both roles.
    ordinal: int | None = None
    started_unix_ns: int | None = None
    control: ControlTimes | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Allocator, clocks, launch cost, load … before and after: {"before": {…}, "after": {…}}; costs
    #: of the profiler's session (`session`); for a control `planned_controls`; for the first run of
    #: a new input shape its warm-up (`warm_up`); for a control after one that was left out, the
    #: time of that (`first_of_its_lengths_ns`).
    machine: Mapping[str, Any] = field(default_factory=dict)


def decode_run_record(line: bytes | str, *, source: str) -> RunRecord:
    """Decode a line of `runs.rank<k>.jsonl`, of format version 1 or 2.

    Version 1 calls the role `profiled` and lacks CUPTI's state: its controls become `never` if they
    are marked `before_profiling` or the process saw no GPU, else `attached`.

    Raises:
        TraceError: not JSON, a field missing or of another type, or times of a control that its
            parts do not sum to.
    """
    stored = decode(line, _StoredRun, source=source, name="RunRecord")
    values: dict[str, Any] = {f.name: getattr(stored, f.name) for f in fields(RunRecord)}
    if stored.role == "profiled":
        values["role"] = "recorded"
    if stored.control is not None:
        if damage := _damage(stored.control):
            raise damaged(f"{source} is not a valid RunRecord", damage)
        values["control"] = _control_of(stored.control, stored.machine)
    return RunRecord(**values)


def _damage(stored: _StoredControl) -> str | None:
    """Why the times of a control cannot be right; None if they can."""
    durations_ns = [segment.duration_ns for segment in stored.segments]
    if not 0 <= stored.total_ns <= MOST_NS or min(durations_ns, default=0) < 0:
        return f"a time of the control is below 0 or above {MOST_NS} ns"
    if durations_ns and sum(durations_ns) != stored.total_ns:
        return (
            f"the control's segments sum to {sum(durations_ns)} ns, its total is {stored.total_ns}"
        )
    return None


@dataclass(frozen=True, kw_only=True)
class _SegmentObject:
    stage: Stage
    step: int | None
    duration_ns: int


@dataclass(frozen=True, kw_only=True)
class _StoredControl:
    total_ns: int
    #: Lists; in older records objects.
    segments: tuple[ControlSegment | _SegmentObject, ...] = ()
    bare: bool = False
    clock: Clock = "device"
    index: int = 0
    cupti: CuptiState | None = None
    before_profiling: bool = False


@dataclass(frozen=True, kw_only=True)
class _StoredRun(RunRecord):
    role: Literal["recorded", "control", "profiled"]  # type: ignore[assignment]
    control: _StoredControl | None = None  # type: ignore[assignment]


def _control_of(stored: _StoredControl, machine: Mapping[str, Any]) -> ControlTimes:
    cupti = stored.cupti
    if cupti is None:
        # A model over several devices is timed on the host's clock too, though CUPTI may be
        # attached.
        without_gpu = stored.clock == "host" and "devices" not in machine.get("before", {})
        cupti = "never" if stored.before_profiling or without_gpu else "attached"
    return ControlTimes(
        total_ns=stored.total_ns,
        segments=PackedSegments(
            s
            if isinstance(s, ControlSegment)
            else ControlSegment(stage=s.stage, step=s.step, duration_ns=s.duration_ns)
            for s in stored.segments
        ),
        bare=stored.bare,
        clock=stored.clock,
        cupti=cupti,
        index=stored.index,
    )


def slug(sample_id: str, *, limit: int = 60) -> str:
    """An id in characters that every file system allows: letters, digits, '.', '_', '-'."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", sample_id).strip("-.")[:limit] or "sample"


def run_name(sample_id: str, repeat: int, rank: int) -> str:
    """The file name (without ending) of a run's trace: slug of the id, short hash, repeat, rank.

    The hash makes names of ids with the same slug distinct.
    """
    digest = hashlib.sha256(sample_id.encode()).hexdigest()[:8]
    return f"{slug(sample_id)}-{digest}.r{repeat}.k{rank}"


def runs_name(rank: int) -> str:
    """File name of a rank's run records; each rank has its own file."""
    return f"runs.rank{rank}.jsonl"
