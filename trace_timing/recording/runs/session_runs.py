"""Make recorded runs: a generate() in a profiler session of its own; store and check its trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from trace_timing.errors import CaptureError
from trace_timing.recording.profiling.detach import GRAPHS_RECORDED, UNREAD, CuptiAttachment
from trace_timing.recording.profiling.graphs import Replays, watch_replays
from trace_timing.recording.profiling.machine_state import resident_bytes
from trace_timing.recording.profiling.session_health import SessionHealth
from trace_timing.recording.profiling.trace_size import TraceSize
from trace_timing.recording.runs.calls import Call, MadeRun, SinkSlot, synchronize
from trace_timing.recording.runs.profiler import ProfilerSession, timed
from trace_timing.recording.runs.profiler_sink import ProfilerSink, SwitchingSink
from trace_timing.recording.runs.run_records import RecordMaker
from trace_timing.recording.runs.step_planner import Planned, StepPlanner
from trace_timing.recording.runs.warm_up import AllAgree
from trace_timing.recording.storage import kineto_export
from trace_timing.recording.storage.directory import PARTIAL, CaptureDirectory, sha256
from trace_timing.recording.storage.kineto_export import Losses
from trace_timing.records.runs import run_name

#: Most sessions for a sample before it is refused for lost kernels.
ATTEMPTS = 3
#: Most spare kernels: they double at each loss, which grows with the sessions; so many take about
#: 40 ms.
MOST_PADS = 8192


class SessionMaker:
    """Makes the recorded runs of one process's model.

    Args:
        planner: plans which steps of each run are recorded.
        on_trace: called with each stored trace's name; returns the file endings to keep.
        all_agree: whether all ranks that make each run together agree.
    """

    def __init__(
        self,
        *,
        slot: SinkSlot,
        session: ProfilerSession,
        records: RecordMaker,
        directory: CaptureDirectory,
        attachment: CuptiAttachment,
        devices: Sequence[torch.device],
        planner: StepPlanner,
        on_trace: Callable[[str], Sequence[str]],
        all_agree: AllAgree,
    ) -> None:
        self._slot = slot
        self._session = session
        self._records = records
        self._directory = directory
        self._attachment = attachment
        self._devices = list(devices)
        self._planner = planner
        self._on_trace = on_trace
        self._all_agree = all_agree
        self._pads = 0
        self._size = TraceSize()
        self.health = SessionHealth()

    def throwaway(self, call: Call) -> None:
        """Make a session and discard it: it pays for CUPTI's start and first buffers."""
        self._in_session(call, call.short or call.run, Planned())
        self._drop_trace(call)

    def recorded(self, call: Call, **more: Any) -> MadeRun:
        """Make one recorded run, again if the profiler lost kernels; its record is not yet written.

        Args:
            more: for its record's `machine`.
        Raises:
            CaptureError: its trace would be too large to open; the call was not made.
            Exception: whatever the call raised, after the run was recorded as failed.
            StorageError: the trace could not be written.
        """
        beginning = self._records.begin()
        planned = self._planner.plan(call, self._attachment)
        self._records.guarded(call, beginning, "recorded", lambda: self._refuse_too_large(planned))
        for attempt in range(1, ATTEMPTS + 1):
            output, losses, costs = self._records.guarded(
                call, beginning, "recorded", lambda: self._in_session(call, call.run, planned)
            )
            costs |= {
                "attempts": attempt,
                "pad_kernels": self._pads,
                "lost_kernels": losses.lost,
                "lost_at_switches": losses.lost_at_switches,
                "steps": planned.as_dict(),
                "generate_ns": losses.generate_ns,
            }
            self.health.saw(costs["start_ns"], resident_bytes())
            if self._all_agree(not losses.lost) or not call.repeatable:
                break
            self._pads = min(2 * (self._pads + losses.lost), MOST_PADS)
        record = self._records.made(call, beginning, "recorded", output, {"session": costs, **more})
        if fault := _fault(losses):
            self._drop_trace(call)
            return MadeRun(output=output, record=replace(record, status="failed", reason=fault))
        name = run_name(call.sample_id, call.repeat, self._directory.rank)
        endings = self._on_trace(name)
        sums = {ending: sha256(self._directory.trace_path(name, ending)) for ending in endings}
        return MadeRun(output=output, record=replace(record, trace=name, sha256=sums))

    def _refuse_too_large(self, planned: Planned) -> None:
        if not self._all_agree(self._size.fits(planned.steps)):
            raise self._size.too_large(planned.steps or 0, fewer=planned.why_all is None)

    def _in_session(
        self, call: Call, run: Callable[[], Any], planned: Planned
    ) -> tuple[Any, Losses, dict[str, Any]]:
        """Make one session around the run; store its trace and count losses."""
        self._attachment.before_session()
        start = timed(self._session.start)
        try:
            run_spare_kernels(self._devices, self._pads)
            output = self._watched(run, planned)
        except BaseException:
            self._session.stop()
            self._look_for_graphs(call)
            raise
        stop = timed(self._session.stop)
        begin = time.perf_counter_ns()
        losses, json_bytes = self._store(call)
        store = time.perf_counter_ns() - begin
        if losses.graphs:
            self._attachment.forbid(GRAPHS_RECORDED)
        self._attachment.after_session()
        if planned.plan is None:
            self._size.learn(json_bytes, losses.decode_steps)
        costs = {"start_ns": start, "stop_ns": stop, "store_ns": store, "json_bytes": json_bytes}
        return output, losses, costs

    def _watched(self, run: Callable[[], Any], planned: Planned) -> Any:
        """Make the run with ranges at its stages, and wait for its device work."""
        replays = Replays()
        sink = self._slot.sink = _sink(planned, lambda: not replays.seen)
        try:
            with watch_replays(replays):
                output = run()
            synchronize(self._devices)
        finally:
            self._slot.sink = None
            sink.close()
            if replays.seen:
                self._attachment.forbid(GRAPHS_RECORDED)
        return output

    def _look_for_graphs(self, call: Call) -> None:
        """Look for graphs in the trace of a run that raised: it may have replayed one."""
        why: str | None = UNREAD
        with suppress(CaptureError, OSError, RuntimeError):
            losses, _ = self._saved(call)
            why = GRAPHS_RECORDED if losses.graphs else None
        if why is not None:
            self._attachment.forbid(why)

    def _saved(self, call: Call) -> tuple[Losses, bytes]:
        name = run_name(call.sample_id, call.repeat, self._directory.rank)
        raw = self._directory.trace_path(name, "json" + PARTIAL)
        try:
            self._session.save(raw)
            text = raw.read_bytes()
        finally:
            raw.unlink(missing_ok=True)
        return kineto_export.inspect(text, name=call.sample_id), text

    def _store(self, call: Call) -> tuple[Losses, int]:
        """Store the session's trace; what is missing of it, and the size of its JSON."""
        losses, text = self._saved(call)
        name = run_name(call.sample_id, call.repeat, self._directory.rank)
        path = self._directory.trace_path(name, "json.gz")
        kineto_export.store_compressed(kineto_export.clean(text, name), path)
        return losses, len(text)

    def _drop_trace(self, call: Call) -> None:
        name = run_name(call.sample_id, call.repeat, self._directory.rank)
        with suppress(OSError):
            self._directory.trace_path(name, "json.gz").unlink()


def _sink(planned: Planned, may_switch: Callable[[], bool]) -> ProfilerSink:
    if planned.plan is None or planned.switch is None:
        return ProfilerSink()
    return SwitchingSink(planned.plan, planned.switch, may_switch)


def run_spare_kernels(devices: Sequence[torch.device], number: int) -> None:
    """Run kernels for the profiler to lose instead of the sample's own."""
    for device in devices:
        spare = torch.empty(1, device=device)
        for _ in range(number):
            spare.fill_(1)
        torch.cuda.synchronize(device)


def _fault(losses: Losses) -> str | None:
    if losses.lost:
        return (
            f"the profiler lost {losses.lost} of {losses.launches} kernels "
            f"in {ATTEMPTS} sessions, as CUPTI 12.6U2 to 13.0 may: use a newer CUDA"
        )
    return None if losses.ranges else "the trace holds no generate range"
