"""What recording writes and analysis reads: stages, manifests, run records, doubts, law results.

Frozen values; a change returns a new one (`dataclasses.replace`). The JSON form of each is its
field names, written and validated by `encode` and `decode`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

import msgspec

from trace_timing.errors import TraceError

TOOL_VERSION = "0.1.0"
#: Of manifest.json with its run records, and of summary.json with its tables.
#: 1: roles profiled and control. 2: roles recorded and control, each control says CUPTI's state.
FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
TRACES_DIR = "traces"

Stage = Literal[
    "text_encoder",
    "vision_encoder",
    "projector",
    "vision",
    "prefill",
    "mixed",
    "decode",
    "sampling",
    "draft",
    "other",
    "unattributed",
]
#: In the order of a generate() call; the order of rows in every table and of colours in figures.
STAGES: tuple[Stage, ...] = Stage.__args__  # type: ignore[attr-defined]
VISION_STAGES: tuple[Stage, ...] = ("vision_encoder", "projector", "vision")
#: Stages whose ranges carry a number: decode[1…N−1], sampling[0…N−1].
NUMBERED_STAGES: tuple[Stage, ...] = ("decode", "sampling")
#: Forwards of the language model. A server batches requests, so that one forward can prefill some
#: and decode others: `mixed`, which is never split between the two.
STEP_STAGES: tuple[Stage, ...] = ("prefill", "mixed", "decode")
GENERATE = "generate"
#: Marks in the trace itself. Recording was off from the begin of the one to its end; the step
#: after it is recorded, but what was launched before still runs in it, so it is not counted.
RECORDING_OFF, RECORDING_GUARD = "recording_off", "recording_guard"

Role = Literal["recorded", "control"]
Clock = Literal["device", "host"]
#: Of a control: CUPTI was not used in this process before it (`never`); used, and detached since by
#: a method shown to work (`detached`); used and not detached, or not shown to be (`attached`).
CuptiState = Literal["never", "detached", "attached"]
Status = Literal["ok", "failed"]
ProfileMode = Literal["ranges", "full"]
IntegrityLevel = Literal["PASS", "WARN", "FAIL"]


def range_name(stage: Stage | Literal["generate"], step: int | None = None) -> str:
    """The name of the `record_function` range of a stage: `decode[3]`, `prefill`, `generate`."""
    return stage if step is None else f"{stage}[{step}]"


class ControlSegment(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One stretch of a control run between two consecutive CUDA events.

    Belongs to the stage entered at its first event; the segments of a run are in time order and
    sum to its total. `step` is None for stages without a number. In JSON a row [stage, step, ns]:
    a control of a thousand tokens has four thousand of them.
    """

    stage: Stage
    step: int | None
    duration_ns: int


@dataclass(frozen=True, kw_only=True)
class ControlTimes:
    """A control run's figures. A bare control has the total alone and no segments."""

    total_ns: int
    segments: tuple[ControlSegment, ...] = ()
    bare: bool = False
    clock: Clock = "device"
    cupti: CuptiState = "never"
    #: Which of the controls of one sample, counted from 0 in the order made.
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
    #: Of the stored file(s), by ending: {"json.gz": "…"}.
    sha256: Mapping[str, str] = field(default_factory=dict)
    tokens_in: int | None = None
    #: New positions of the longest row, and summed over rows.
    tokens_out: int | None = None
    tokens_out_total: int | None = None
    #: Of the output's token ids, so that runs of one sample can be compared.
    tokens_sha256: str | None = None
    #: Order of the run within the process, counted from 0 over both roles.
    ordinal: int | None = None
    started_unix_ns: int | None = None
    control: ControlTimes | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Allocator, clocks, launch cost, load … before and after: {"before": {…}, "after": {…}}; what
    #: the profiler's session cost (`session`); of a control `planned_controls`, of a sample's first
    #: run of a new input shape how the warm-up went (`warm_up`), and the time of a control before
    #: it that did not count (`first_of_its_lengths_ns`).
    machine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HardwareRates:
    """What the device reaches on large, simple work: the yardstick of distances to the limit."""

    #: Read and written bytes a second of a copy within the device.
    copy_bytes_per_s: float
    #: Multiplications and additions a second of a large matrix product.
    matmul_flops_per_s: float
    matmul_dtype: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`manifest.json`: what is common to all runs of a capture directory."""

    format_version: int = FORMAT_VERSION
    tool_version: str = ""
    #: torch, transformers, cuda, cupti, driver, device names, python, os.
    environment: Mapping[str, Any] = field(default_factory=dict)
    #: profile mode, order and number of controls, max_new_tokens, dtype, model, stage modules.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Parameters and bytes by stage, layers, heads: what the distance to the limit needs.
    model: Mapping[str, Any] = field(default_factory=dict)
    #: What the device reaches (HardwareRates), None where `doctor --rates` was not given.
    rates: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A stated reason to distrust a figure, with the evidence and the remedy."""

    #: Stable and machine-readable: `law_broken`, `clock_host`, `no_stage_ranges` …
    code: str
    #: What is doubted, in a sentence.
    message: str
    evidence: str
    remedy: str
    sample_id: str | None = None
    repeat: int | None = None
    rank: int | None = None
    stage: str | None = None


@dataclass(frozen=True, kw_only=True)
class LawResult:
    """One law of design section 2 on one run (or one trace): the two sides and the verdict."""

    law: int
    holds: bool
    #: None where the law has nothing to say (no device timeline).
    left_ns: int | None
    right_ns: int | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class IntegrityResult:
    """What one check of a trace's integrity found (docs/integrity.md)."""

    code: str
    #: WARN: the figures are given, and this is named. FAIL: they are no labels.
    level: IntegrityLevel
    #: What it would mean, in a sentence; of a PASS too.
    message: str
    #: In one line: the faults, or what was looked at.
    evidence: str
    remedy: str
    stage: Stage | None = None


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """An input that was not analysed, and why."""

    source: str
    reason: str
    remedy: str


T = TypeVar("T")


def encode(value: object) -> bytes:
    """Compact JSON of a record; mappings keep their order, so equal records give equal bytes."""
    return msgspec.json.encode(value)


def decode(data: bytes | str, kind: type[T], *, source: str, name: str = "") -> T:
    """A record from its JSON; run records and manifests have functions of their own.

    Args:
        name: what the record is called in an error, where it is not the type's name.
    Raises:
        TraceError: not JSON, a field missing or of another type; names `source` and the field.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise TraceError(
            f"{source} is not a valid {name or kind.__name__}",
            why=str(error),
            remedy="record it again, or delete the damaged file or line",
        ) from error


class OlderCalibration(msgspec.Struct, frozen=True):
    """Of the profiler's cost, which older manifests hold, the device's rates alone."""

    rates: Mapping[str, Any] | None = None


class OlderManifest(msgspec.Struct, frozen=True):
    """Of an older manifest, where its rates stand."""

    calibration: OlderCalibration | None = None


def decode_manifest(data: bytes | str, *, source: str) -> Manifest:
    """A manifest of this format version or an earlier one.

    An earlier one has the device's rates within its calibration.

    Raises:
        TraceError: of a newer format, in which fields may differ; or not the JSON of a manifest.
    """
    check_format(data, source=source)
    manifest = decode(data, Manifest, source=source)
    if manifest.rates is not None:
        return manifest
    older = decode(data, OlderManifest, source=source).calibration
    return replace(manifest, rates=older.rates) if older else manifest


@dataclass(frozen=True, kw_only=True)
class FormatHeader:
    """What a manifest or summary says of its format, whatever else is in it."""

    format_version: int = 1


def check_format(data: bytes | str, *, source: str) -> None:
    """Refuse the JSON of a manifest or summary whose format is newer than this program.

    What raises the format version: docs/file-formats.md.

    Raises:
        TraceError: its `format_version` is above FORMAT_VERSION; or as `decode`.
    """
    found = decode(data, FormatHeader, source=source).format_version
    if found > FORMAT_VERSION:
        raise TraceError(
            f"{source} has format version {found}",
            why=f"trace-timing {TOOL_VERSION} reads versions up to {FORMAT_VERSION}",
            remedy="use the trace-timing that wrote it, or a newer one",
        )


def decode_run_record(line: bytes | str, *, source: str) -> RunRecord:
    """A line of `runs.rank<k>.jsonl`, of format version 1 or 2.

    Version 1 calls the role `profiled`, and does not say CUPTI's state: its controls are `never`
    where they were marked `before_profiling` or the process saw no GPU, else `attached`.

    Raises:
        TraceError: not JSON, a field missing or of another type.
    """
    stored = decode(line, _StoredRun, source=source, name="RunRecord")
    values: dict[str, Any] = {f.name: getattr(stored, f.name) for f in fields(RunRecord)}
    if stored.role == "profiled":
        values["role"] = "recorded"
    if stored.control is not None:
        values["control"] = _control_of(stored.control, stored.machine)
    return RunRecord(**values)


@dataclass(frozen=True, kw_only=True)
class _SegmentObject:
    stage: Stage
    step: int | None
    duration_ns: int


@dataclass(frozen=True, kw_only=True)
class _StoredControl:
    total_ns: int
    #: Rows; in older records objects.
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
        # A model over several devices is timed on the host's clock too, in a process with CUPTI.
        without_gpu = stored.clock == "host" and "devices" not in machine.get("before", {})
        cupti = "never" if stored.before_profiling or without_gpu else "attached"
    return ControlTimes(
        total_ns=stored.total_ns,
        segments=tuple(
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
    """A file name part that any file system takes: letters, digits, '.', '_', '-'."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", sample_id).strip("-.")[:limit] or "sample"


def run_name(sample_id: str, repeat: int, rank: int) -> str:
    """The file name (without ending) of a run's trace: slug of the id, short hash, repeat, rank.

    The hash keeps two ids with one slug apart.
    """
    digest = hashlib.sha256(sample_id.encode()).hexdigest()[:8]
    return f"{slug(sample_id)}-{digest}.r{repeat}.k{rank}"


def runs_name(rank: int) -> str:
    """File name of a rank's run records; no two ranks write one file."""
    return f"runs.rank{rank}.jsonl"
