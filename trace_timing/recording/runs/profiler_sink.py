"""Sink of a recorded run: named ranges in the profiler's trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch.profiler import record_function

from trace_timing.recording.profiling.switch import RecordingSwitch
from trace_timing.recording.runs.step_plan import StepPlan
from trace_timing.stages import RECORDING_GUARD, RECORDING_OFF, Stage, range_name


class ProfilerSink:
    """Opens a `record_function` range at each entry and closes it at the exit, as a stack."""

    #: Whether API calls and GPU ops are recorded now.
    is_recording = True

    def __init__(self) -> None:
        self._open: list[Any] = []

    def enter(self, stage: Stage | Literal["generate"], step: int | None = None) -> None:
        """Open the range of a stage."""
        self._push(range_name(stage, step))

    def exit(self) -> None:
        """Close the innermost open range."""
        self._open.pop().__exit__(None, None, None)

    def close(self) -> None:
        """Close ranges that an exception left open: one that outlives its session crashes torch."""
        while self._open:
            self.exit()

    def _push(self, name: str) -> None:
        scope = record_function(name)
        scope.__enter__()
        self._open.append(scope)


class SwitchingSink(ProfilerSink):
    """As ProfilerSink, with recording off between the stretches of a plan.

    Marks are ranges directly in `generate`, around whole steps: `recording_off` over a gap,
    `recording_guard` over the step after it. Switching takes place inside the first step of the gap
    and inside the guard step, which are not counted.

    Args:
        may_switch: called before each switch off; once false, everything after is recorded.
    """

    def __init__(
        self,
        plan: StepPlan,
        switch: RecordingSwitch,
        may_switch: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__()
        self._plan = plan
        self._switch = switch
        self._may_switch = may_switch
        self._mark: str | None = None
        #: A switch failed; recording is not switched any more.
        self.failed = False

    def enter(self, stage: Stage | Literal["generate"], step: int | None = None) -> None:
        """Open the range of a stage; at a step's entry, recording is switched as planned."""
        if stage == "generate" or self._is_in_stage:
            super().enter(stage, step)
        elif stage == "decode" and step is not None:
            self._enter_step(step)
        else:
            # Stages that are no step, such as a second prefill, are recorded.
            is_sampling = stage == "sampling"
            if not is_sampling:
                self._end_gap()
            super().enter(stage, step)

    def exit(self) -> None:
        """Close the innermost stage, and before `generate` the mark that is open in it."""
        if self._mark is not None and not self._is_in_stage:
            self._end_gap()
        super().exit()

    @property
    def _is_in_stage(self) -> bool:
        return len(self._open) > 1 + (self._mark is not None)

    def _enter_step(self, step: int) -> None:
        """Switch recording as planned for this step, and open or close its mark."""
        state = self._plan.state(step)
        if self.is_recording:
            self._close_mark()
            if state == "off" and not self.failed and self._may_switch():
                self._open_mark(RECORDING_OFF)
                super().enter("decode", step)
                self._turn_off()
                return
        elif state != "off" and not self.failed:
            self._close_mark()
            self._open_mark(RECORDING_GUARD)
            super().enter("decode", step)
            self._turn_on()
            return
        super().enter("decode", step)

    def _turn_off(self) -> None:
        self.is_recording = False
        if not self._switch.off():
            # Some kinds may be off: enable all again, and leave this step marked as a gap.
            self.failed = True
            self.is_recording = self._switch.on()

    def _turn_on(self) -> None:
        if self._switch.on():
            self.is_recording = True
            return
        self.failed = True

    def _end_gap(self) -> None:
        """Record again, and close the mark."""
        if not self.is_recording:
            self.is_recording = self._switch.on()
            self.failed |= not self.is_recording
        if self.is_recording or not self._is_in_stage:
            self._close_mark()

    def _open_mark(self, name: str) -> None:
        self._push(name)
        self._mark = name

    def _close_mark(self) -> None:
        if self._mark is not None:
            self._mark = None
            super().exit()
