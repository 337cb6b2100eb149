"""The checks on a trace's events alone; docs/integrity.md explains why each is a WARN or FAIL."""

from __future__ import annotations

from trace_timing.trace.events import Trace
from trace_timing.trace.integrity import clock_checks, event_checks, op_checks
from trace_timing.trace.integrity.check import Check

_AGAIN = "record again; with a newer driver if it comes back"

TRACE_CHECKS: tuple[Check[Trace], ...] = (
    Check(
        code="zero_timestamp",
        level="FAIL",
        message="Events have the timestamp 0, so their time is unknown.",
        bound="exactly 0, where all other events are a second or more away",
        remedy=_AGAIN,
        find=event_checks.at_zero,
    ),
    Check(
        code="rounded_to_us",
        level="WARN",
        message="Timestamps are whole microseconds, so short ops have no exact length.",
        bound="no time of any event has a fraction of a µs",
        remedy="record again with torch 2.4 or newer, which writes nanoseconds",
        find=event_checks.rounded,
    ),
    Check(
        code="dropped_records",
        level="FAIL",
        message="The profiler says that it dropped records.",
        bound="any such note",
        remedy="record fewer steps or less of each; free memory on the device",
        find=event_checks.dropped_records,
    ),
    Check(
        code="doubled_events",
        level="FAIL",
        message="Events are in the trace twice, so sums and counts are too large.",
        bound="one name, stream (of calls: thread and id), start and length; in traces of whole µs "
        "from 10 µs of length on",
        remedy="give the trace as the profiler wrote it, not merged with itself",
        find=op_checks.doubled_events,
    ),
    Check(
        code="shared_launch",
        level="FAIL",
        message="Ops share a launch of one kernel, so they may count for a wrong stage.",
        bound="two ops of a device under one call that launches a kernel, graphs apart",
        remedy="record again: correlation ids are wrong",
        find=op_checks.shared_launches,
    ),
    Check(
        code="corrupt_durations",
        level="FAIL",
        message="Ops end after the next op of their stream has started.",
        bound="5 µs: overlapping (programmatic dependent) launches explain about 1",
        remedy=_AGAIN,
        find=op_checks.overlong_ops,
    ),
    Check(
        code="out_of_order",
        level="FAIL",
        message="Ops of a stream start in another order than they were launched in.",
        bound="5 µs, between launches of one thread",
        remedy=_AGAIN,
        find=op_checks.out_of_order,
    ),
    Check(
        code="falling_ids",
        level="FAIL",
        message="Launches of a thread have falling ids: some are another's, or their times wrong.",
        bound="any between launches of one thread, a counter that begins again at 2³² apart",
        remedy="give the trace as the profiler wrote it; where it is, record again",
        find=op_checks.falling_ids,
    ),
    Check(
        code="launch_without_id",
        level="WARN",
        message="Launches have no id, so whether the profiler lost their ops is unknown.",
        bound="any, where other launches have one",
        remedy=_AGAIN,
        find=op_checks.launches_without_id,
    ),
    Check(
        code="launching_only",
        level="WARN",
        message="A process has launches but neither ranges nor ops, so its launches count nowhere.",
        bound="any launch, in a trace of several processes",
        remedy="give the trace of each process by itself, as the profiler wrote it",
        find=event_checks.launching_only,
    ),
    Check(
        code="zero_length_op",
        level="WARN",
        message="Ops have no length, so their time is missing in their stages.",
        bound="0 ns, in a trace whose times are not whole µs",
        remedy=_AGAIN,
        find=op_checks.zero_length_ops,
    ),
    Check(
        code="long_last_op",
        level="WARN",
        message="The last op of a stream is far longer than all others: its end may be wrong.",
        bound="20 times the longest other op, of 8 or more",
        remedy="look at it in a viewer; end a session with torch.cuda.synchronize()",
        find=op_checks.long_last_ops,
    ),
    Check(
        code="clock_skew",
        level="WARN",
        message="Some ops seem to start before they were launched.",
        bound="up to 50 µs, ten times what clocks were seen apart",
        remedy="read differences between host and device times to no better than that",
        find=clock_checks.clock_skew,
    ),
    Check(
        code="op_before_launch",
        level="FAIL",
        message="Ops start long before they were launched: their times are wrong.",
        bound="more than 50 µs",
        remedy=_AGAIN,
        find=clock_checks.before_launch,
    ),
    Check(
        code="early_return",
        level="WARN",
        message="Calls that wait return before the op that they waited for has ended.",
        bound="up to 50 µs, ten times what clocks were seen apart",
        remedy="read differences between host and device times to no better than that",
        find=clock_checks.early_return,
    ),
    Check(
        code="op_after_sync",
        level="FAIL",
        message="Ops end long after a call that waited for them returned: their times are wrong.",
        bound="more than 50 µs",
        remedy=_AGAIN,
        find=clock_checks.after_sync,
    ),
    Check(
        code="slow_launches",
        level="WARN",
        message="No op starts soon after its launch: the device's clock may be ahead.",
        bound="more than 50 µs for the quickest of 8 or more ops; 3 to 10 µs were seen",
        remedy="begin the session while the device is idle; else read host against device times "
        "to no better than that",
        find=clock_checks.slow_launches,
    ),
    Check(
        code="long_wait",
        level="WARN",
        message="Ops start long after their launch though the device is idle.",
        bound="100 ms (others' ranks made ops wait 65); for the last op 1 ms and more than all "
        "before it took",
        remedy="see what it waited for (another process, a file): it is in the stage's time",
        find=clock_checks.long_waits,
    ),
    Check(
        code="absurd_wait",
        level="FAIL",
        message="Ops start seconds after their launch though the device is idle.",
        bound="more than 1 s",
        remedy=_AGAIN,
        find=clock_checks.absurd_waits,
    ),
)
