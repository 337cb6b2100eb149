"""The checks that need ranges and stages, and all checks of a trace or run together."""

from __future__ import annotations

from trace_timing.records.findings import IntegrityResult
from trace_timing.timeline.integrity import launch_checks, range_checks
from trace_timing.timeline.integrity.subject import RunSubject, TraceSubject
from trace_timing.trace.integrity.check import Check, run_checks
from trace_timing.trace.integrity.table import TRACE_CHECKS

_LOST_REMEDY = (
    "record one session a process, or with CUPTI 13.1 or newer "
    "(https://github.com/pytorch/pytorch/issues/192021)"
)
_RANGES_REMEDY = (
    "check that every forward has its range: within compiled code record_function is dropped"
)

TIMELINE_CHECKS: tuple[Check[TraceSubject], ...] = (
    Check(
        code="range_at_zero",
        level="FAIL",
        message="Ranges have the timestamp 0, so their time is unknown.",
        bound="exactly 0, where all other events are a second or more away",
        remedy="record again",
        find=range_checks.at_zero,
    ),
    Check(
        code="no_generate",
        level="WARN",
        message="No generate range: the run is taken from its first range or op to its last.",
        bound="stage ranges and no range named generate, servers apart",
        remedy="record with capture, or put a range named generate around the call",
        find=range_checks.no_generate,
    ),
    Check(
        code="ranges_outside_generate",
        level="WARN",
        message="Stage ranges lie outside every generate range: they are in no run.",
        bound="any",
        remedy="put the generate range around all of the call",
        find=range_checks.outside_generate,
    ),
    Check(
        code="lost_ops_outside",
        level="WARN",
        message="Launches outside every run have no op: kernels were lost, but none of a run.",
        bound="any",
        remedy=_LOST_REMEDY,
        find=launch_checks.lost_outside,
    ),
)

RUN_CHECKS: tuple[Check[RunSubject], ...] = (
    Check(
        code="lost_ops",
        level="FAIL",
        message="Launches have no op: the profiler lost kernels, so stages seem too short.",
        bound="any within the run",
        remedy=_LOST_REMEDY,
        find=launch_checks.lost_in_run,
    ),
    Check(
        code="zero_length_range",
        level="FAIL",
        message="Ranges have no length, so ops launched in them count for another stage.",
        bound="0 ns; where times are whole µs, of generate and forwards alone",
        remedy="record again",
        find=range_checks.without_length,
    ),
    Check(
        code="step_missing",
        level="FAIL",
        message="Steps have no range, so their time counts for other stages or for none.",
        bound="a number absent below the last one, of a decode step also below that of sampling",
        remedy=_RANGES_REMEDY,
        find=range_checks.missing_steps,
    ),
    Check(
        code="step_repeated",
        level="FAIL",
        message="Several ranges have one step's number, so its time is that of several steps.",
        bound="two ranges of one number on one thread, neither inside the other",
        remedy="number every step of a generate() call once",
        find=range_checks.repeated_steps,
    ),
    Check(
        code="range_outlasts",
        level="WARN",
        message="The run's last range goes on long after all else in it: its end may be wrong.",
        bound="longer after the last stage, call and op than up to there",
        remedy="look at it in a viewer; the host's time there is in the range's stage or `other`",
        find=launch_checks.outlasting_range,
    ),
    Check(
        code="ranges_on_other_thread",
        level="WARN",
        message="Stage ranges are on another thread than the run's: idle time in them goes to the "
        "stages of the run's own thread.",
        bound="any that is in no generate range of its own thread",
        remedy="put the ranges on the thread that calls generate()",
        find=range_checks.on_other_thread,
    ),
    Check(
        code="prefill_missing",
        level="FAIL",
        message="The run has decode steps and no prefill.",
        bound="none within a generate range that has decode steps",
        remedy=_RANGES_REMEDY,
        find=range_checks.missing_prefill,
    ),
    Check(
        code="sampling_missing",
        level="WARN",
        message="The last steps have no sampling range: that time counts as `other`.",
        bound="the last number of sampling is below that of decode",
        remedy="check how the run ended",
        find=range_checks.missing_sampling,
    ),
    Check(
        code="tokens_not_steps",
        level="WARN",
        message="Tokens and steps differ, so time per step is not time per token.",
        bound="output tokens are not the decode steps and one",
        remedy="expected with assisted or prompt-lookup decoding; "
        "otherwise check that every forward has its range",
        find=range_checks.tokens_and_steps,
    ),
    Check(
        code="forward_without_range",
        level="WARN",
        message="As many ops are outside stages as in a forward: a range may be missing.",
        bound="half the ops of the median decode step, before, between or after stages",
        remedy=_RANGES_REMEDY,
        find=launch_checks.forward_without_range,
    ),
    Check(
        code="stage_without_ops",
        level="FAIL",
        message="Forwards have no op at all: the profiler lost launches and ops of them.",
        bound="0 ops in a prefill or decode range on a device, servers apart",
        remedy=_LOST_REMEDY,
        find=launch_checks.without_ops,
    ),
    Check(
        code="few_ops",
        level="WARN",
        message="Decode steps have far fewer ops than the others: some may be lost.",
        bound="half the median of 3 or more steps; recorded steps of one run differ by 1 or 2 ops",
        remedy="compare the steps in a viewer; expected where the first one compiles or captures",
        find=launch_checks.few_ops,
    ),
    Check(
        code="late_first_launch",
        level="WARN",
        message="A forward's first launch comes late: launches before it may be lost with "
        "their ops.",
        bound="after 5 % of the range, and 3 times as late as in any other forward (2.4 % seen)",
        remedy="expected where the first step compiles; otherwise begin the session earlier",
        find=launch_checks.late_first_launch,
    ),
    Check(
        code="profiler_overhead",
        level="WARN",
        message="The profiler worked inside a stage (buffer requests, flushes).",
        bound="5 % of the stage's ranges; waiting for room in the device's queue is not counted",
        remedy="read the recorded times as that much too long; controls have none of it",
        find=launch_checks.profiler_overhead,
    ),
)

#: Codes of the checks whose fault makes a label unusable.
FAILING = frozenset(
    code
    for code, level in (
        *((check.code, check.level) for check in TRACE_CHECKS),
        *((check.code, check.level) for check in TIMELINE_CHECKS),
        *((check.code, check.level) for check in RUN_CHECKS),
    )
    if level == "FAIL"
)


def trace_integrity(subject: TraceSubject) -> tuple[IntegrityResult, ...]:
    """Every check of a trace as a whole."""
    return run_checks(TRACE_CHECKS, subject.trace) + run_checks(TIMELINE_CHECKS, subject)


def run_integrity(subject: RunSubject) -> tuple[IntegrityResult, ...]:
    """Every check of one run."""
    return run_checks(RUN_CHECKS, subject)
