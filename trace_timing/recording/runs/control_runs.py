"""Make runs without a profiler: controls with marks at the stage boundaries, bare and plain ones.

A bare control has no hooks and only a total: compared with the others it shows the cost of hooks
and marks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from trace_timing.recording.profiling.detach import CuptiAttachment
from trace_timing.recording.runs.calls import Call, MadeRun, SinkSlot, synchronize
from trace_timing.recording.runs.control_sink import ControlSink, HostMarks, Marks, StreamMarks
from trace_timing.recording.runs.run_records import RecordMaker
from trace_timing.records.runs import ControlTimes


class ControlMaker:
    """Makes unprofiled runs of one process's model.

    Args:
        unhooked: a context in which the model has no hooks, for a bare control.
    """

    def __init__(
        self,
        *,
        slot: SinkSlot,
        records: RecordMaker,
        attachment: CuptiAttachment,
        devices: Sequence[torch.device],
        unhooked: Callable[[], Any],
    ) -> None:
        self._slot = slot
        self._records = records
        self._attachment = attachment
        self._devices = list(devices)
        self._unhooked = unhooked
        self._spare_events: list[Any] = []

    def control(self, call: Call, *, index: int, bare: bool = False, **more: Any) -> MadeRun:
        """Make one control; its record is not yet written, and gets `more` in its `machine`.

        Raises:
            Exception: whatever the call raised, after the run was recorded as failed.
        """
        beginning = self._records.begin()
        cupti = self._attachment.state
        timed = self._timed_bare if bare else self.timed
        output, times = self._records.guarded(call, beginning, "control", lambda: timed(call.run))
        record = self._records.made(call, beginning, "control", output, more)
        control = replace(times, index=index, bare=bare, cupti=cupti)
        return MadeRun(output=output, record=replace(record, control=control))

    def timed(self, run: Callable[[], Any]) -> tuple[Any, ControlTimes]:
        """Output and times of a run with marks at its stage boundaries.

        For a model over several devices only the total: marks on one device's stream do not wait
        for the others.
        """
        if len(self._devices) > 1:
            return self._total(run)
        sink = ControlSink(self._marks())
        self._slot.sink = sink
        try:
            output = run()
        finally:
            self._slot.sink = None
        return output, sink.times()

    def plain(self, call: Call) -> None:
        """Make one unmeasured run with hooks."""
        call.run()
        synchronize(self._devices)

    def _timed_bare(self, run: Callable[[], Any]) -> tuple[Any, ControlTimes]:
        with self._unhooked():
            return self._total(run)

    def _total(self, run: Callable[[], Any]) -> tuple[Any, ControlTimes]:
        """Output and total of a run, by marks, or over several devices by the host's clock."""
        if len(self._devices) > 1:
            begin = time.perf_counter_ns()
            output = run()
            synchronize(self._devices)
            return output, ControlTimes(total_ns=time.perf_counter_ns() - begin, clock="host")
        marks = self._marks()
        marks.mark()
        output = run()
        marks.mark()
        return output, ControlTimes(total_ns=marks.since_first_ns()[-1], clock=marks.clock)

    def _marks(self) -> Marks:
        if not self._devices:
            return HostMarks()
        return StreamMarks(self._devices[0], self._spare_events)
