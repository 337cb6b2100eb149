"""Make a sample's runs in order: warm-up of a new input shape, controls, session, detach.

Each run of a sample starts from the same random state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trace_timing.recording.profiling.detach import GRAPHS_SEEN, CuptiAttachment
from trace_timing.recording.profiling.graphs import watch_replays
from trace_timing.recording.runs.calls import (
    Call,
    InputShape,
    MadeRun,
    RunSettings,
    SinkSlot,
    devices_of,
    random_state,
    restore,
    synchronize,
)
from trace_timing.recording.runs.control_runs import ControlMaker
from trace_timing.recording.runs.plan import Enough
from trace_timing.recording.runs.profiler import ProfilerSession
from trace_timing.recording.runs.run_records import RecordMaker
from trace_timing.recording.runs.session_runs import SessionMaker
from trace_timing.recording.runs.step_planner import StepPlanner
from trace_timing.recording.runs.warm_up import (
    AllAgree,
    RunTimes,
    WarmUp,
    is_first_of_its_lengths,
    is_late,
    times_of,
    warm_up,
    without_first,
)
from trace_timing.recording.storage.directory import CaptureDirectory
from trace_timing.records.runs import ControlTimes, Role, RunRecord


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How many controls a sample gets."""

    planned: int
    bare: bool = False
    #: Add controls until this is true, or `most` are made; None stops at `planned`.
    enough: Enough | None = None
    most: int = 0


@dataclass(frozen=True, kw_only=True)
class MadeControls:
    """A sample's controls, in the order made, and the last one's output."""

    records: list[RunRecord]
    output: Any


class Runner:
    """Makes the runs of one process, in order, into one capture directory.

    Args:
        unhooked: a context in which the model has no hooks, for a bare control.
        on_trace: called with each stored trace's name; returns the file endings to keep.
        attachment: CUPTI's state in this process.
        planner: plans which steps of each recorded run are recorded; None: all.
        all_agree: whether all ranks that make each run together agree.
    """

    def __init__(
        self,
        *,
        model: Any,
        slot: SinkSlot,
        session: ProfilerSession,
        directory: CaptureDirectory,
        settings: RunSettings,
        unhooked: Callable[[], Any],
        on_trace: Callable[[str], Sequence[str]],
        attachment: CuptiAttachment,
        planner: StepPlanner | None = None,
        all_agree: AllAgree = lambda agrees: agrees,
    ) -> None:
        self._settings = settings
        self._all_agree = all_agree
        self._devices = devices_of(model)
        self.attachment = attachment
        self.records = RecordMaker(model, directory, settings, attachment)
        shared: dict[str, Any] = {"slot": slot, "records": self.records}
        shared |= {"attachment": attachment, "devices": self._devices}
        self.planner = planner or StepPlanner(model, "all")
        self._controls = ControlMaker(**shared, unhooked=unhooked)
        self._sessions = SessionMaker(
            **shared, session=session, directory=directory, planner=self.planner,
            on_trace=on_trace, all_agree=all_agree,
        )  # fmt: skip
        self.health = self._sessions.health
        #: Warm-ups of all new input shapes so far, in order.
        self.warm_ups: list[WarmUp] = []
        #: Input shape → most decode steps that a run of it has made.
        self._warm_shapes: dict[InputShape, int] = {}
        #: Warm-up that the next record will mention.
        self._unsaid: WarmUp | None = None
        self._had_session = False
        #: A trace was stored since the last run, which slows the next one.
        self._is_after_trace = False

    def warm(self, call: Call, role: Role) -> None:
        """Warm up a call's input shape if it has not run before in this process.

        Where the shape is unknown, every sample is warmed up. A call that must not be repeated
        never is, which its record states.

        Args:
            role: role of the record if the warm-up fails.
        Raises:
            Exception: whatever the call raised; recorded as failed.
        """
        shape = _shape_of(call)
        if shape in self._warm_shapes or not self._settings.warm_up:
            return
        self._warm_shapes[shape] = 0
        if not call.repeatable:
            self._unsaid = WarmUp(runs=(), agreed=False)
            return
        state = random_state()
        try:
            with watch_replays() as replays:
                self._unsaid = warm_up(lambda: self._times_of(call), self._all_agree)
        except BaseException as error:
            del self._warm_shapes[shape]
            self._failed_warming(call, error, role)
            raise
        if replays.seen:
            self.attachment.forbid(GRAPHS_SEEN)
        self._warm_shapes[shape] = max(run.steps for run in self._unsaid.runs)
        self.warm_ups.append(self._unsaid)
        self._is_after_trace = False
        restore(state)

    def controls(self, call: Call, how: Controls) -> MadeControls:
        """Make a sample's controls (at least one) and write their records.

        The bare one is among them, so that they are complete only with it. Of their outputs only
        the last stays in memory: no run has less memory for it, and a static cache gets the
        addresses for which its CUDA graphs were recorded. After a warm-up with a shorter call, the
        first control may be slow as the first of its lengths; then it is left out, and one more is
        made.

        Raises:
            Exception: whatever the call raised; the controls before it stay.
        """
        self.warm(call, "control")
        state = random_state()
        self._leave_trace_behind(call)
        made: list[RunRecord] = []
        output: Any = None
        judges = self._settings.warm_up and call.repeatable
        reached = self._warm_shapes.get(_shape_of(call), 0)
        try:
            while not self._is_done(made, how) or (judges and self._is_unsure(made, reached)):
                output = None
                restore(state)
                outcome = self._control(call, how, index=len(made))
                made.append(outcome.record)
                output = outcome.output
                del outcome
                if judges and len(times := _times(made)) == 2:
                    judges = False
                    is_first = is_first_of_its_lengths(times[0], times[1], reached)
                    made = made if self._all_agree(not is_first) else without_first(made)
        finally:
            self.records.write(made)
        steps = (times_of(control).steps for control in _times(made))
        self._warm_shapes[_shape_of(call)] = max(reached, *steps, 0)
        self.planner.learn(made)
        return MadeControls(records=made, output=output)

    def recorded(self, call: Call) -> MadeRun:
        """Make a sample's recorded run in a session of its own, and write its record.

        The process's first one is preceded by a discarded session.

        Raises:
            Exception: whatever the call raised; recorded as failed.
            StorageError: the trace or the record could not be written.
        """
        self.warm(call, "recorded")
        self._open_profiler(call)
        self._is_after_trace = True
        outcome = self._sessions.recorded(call, **self._warm_up_note())
        self.records.write([outcome.record])
        return outcome

    def detach(self) -> None:
        """Detach CUPTI, if possible."""
        synchronize(self._devices)
        self.attachment.detach()

    def failed(self, call: Call, reason: str, role: Role) -> None:
        """Record that a run could not be made."""
        self.records.failed(call, reason, role)

    def _leave_trace_behind(self, call: Call) -> None:
        # The run after a stored trace took 4 % to 6 % longer (measured with CUPTI attached).
        if self._is_after_trace and call.repeatable:
            self._controls.plain(call)
        self._is_after_trace = False

    def _open_profiler(self, call: Call) -> None:
        """Make the discarded session before the process's first one."""
        if self._had_session or not self._settings.warm_up or not call.repeatable:
            return
        state = random_state()
        try:
            self._sessions.throwaway(call)
        except BaseException as error:
            self._failed_warming(call, error, "recorded")
            raise
        self._had_session = True
        restore(state)

    def _failed_warming(self, call: Call, error: BaseException, role: Role) -> None:
        self.records.failed(call, f"while warming up: {type(error).__name__}: {error}", role)

    def _times_of(self, call: Call) -> RunTimes:
        return times_of(self._controls.timed(call.short or call.run)[1])

    def _control(self, call: Call, how: Controls, *, index: int) -> MadeRun:
        return self._controls.control(
            call,
            index=index,
            bare=how.bare and index == how.planned // 2,
            planned_controls=how.planned,
            **self._warm_up_note(),
        )

    def _is_unsure(self, made: Sequence[RunRecord], reached: int) -> bool:
        """Whether a sample's only control may have been slow as the first of its lengths."""
        times = _times(made)
        return len(times) == 1 and not self._all_agree(not is_late(times[0], reached))

    def _is_done(self, made: Sequence[RunRecord], how: Controls) -> bool:
        totals = [times.total_ns for times in _times(made)]
        if len(made) < how.planned + how.bare:
            return False
        if how.enough is None or len(totals) >= how.most:
            return True
        return self._all_agree(how.enough(totals))

    def _warm_up_note(self) -> dict[str, Any]:
        unsaid, self._unsaid = self._unsaid, None
        return {} if unsaid is None else {"warm_up": unsaid.as_dict()}


def _shape_of(call: Call) -> InputShape:
    """The call's input shape; an unknown one counts as new for every sample."""
    return call.shape or ((call.sample_id, ()),)


def _times(made: Sequence[RunRecord]) -> list[ControlTimes]:
    """Times of the controls that are not bare, in the order made."""
    controls = [record.control for record in made]
    return [times for times in controls if times is not None and not times.bare]
