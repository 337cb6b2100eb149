"""Makes a sample's runs in order: warm-up of a new input shape, controls, session, detach.

Each run of a sample starts from the same random state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trace_timing.recording.calls import (
    Call,
    InputShape,
    Outcome,
    RunSettings,
    SinkSlot,
    devices_of,
    random_state,
    restore,
    synchronize,
)
from trace_timing.recording.control_runs import ControlMaker
from trace_timing.recording.detach import GRAPHS_SEEN, CuptiAttachment
from trace_timing.recording.files import CaptureDirectory
from trace_timing.recording.graphs import watch_replays
from trace_timing.recording.plan import Enough
from trace_timing.recording.run_records import RecordMaker
from trace_timing.recording.session import ProfilerSession
from trace_timing.recording.session_runs import SessionMaker
from trace_timing.recording.step_planner import StepPlanner
from trace_timing.recording.warmup import (
    AllAgree,
    RunTimes,
    WarmUp,
    is_first_of_its_lengths,
    is_late,
    times_of,
    warm_up,
    without_first,
)
from trace_timing.records import ControlTimes, Role, RunRecord


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How many controls a sample gets."""

    planned: int
    bare: bool = False
    #: Go on until this says so, or `most` are made; None stops at `planned`.
    enough: Enough | None = None
    most: int = 0


@dataclass(frozen=True, kw_only=True)
class MadeControls:
    """A sample's controls, in the order made, and what the last one returned."""

    records: list[RunRecord]
    output: Any


class Runner:
    """Makes the runs of one process, in order, into one capture directory.

    Args:
        unhooked: a context in which the model has no hooks, for a bare control.
        on_trace: what to do with a stored trace (name → endings that stay).
        attachment: CUPTI's state in this process.
        planner: which steps of each recorded run are recorded; None: all.
        all_agree: whether all ranks that make each run together say so.
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
        all_agree: AllAgree = lambda says: says,
    ) -> None:
        self._settings = settings
        self._all_agree = all_agree
        self._devices = devices_of(model)
        self.attachment = attachment
        self.records = RecordMaker(model, directory, settings, attachment)
        shared: dict[str, Any] = {
            "slot": slot,
            "records": self.records,
            "attachment": attachment,
            "devices": self._devices,
        }
        self.planner = planner or StepPlanner(model, "all")
        self._controls = ControlMaker(**shared, unhooked=unhooked)
        self._sessions = SessionMaker(
            **shared,
            session=session,
            directory=directory,
            planner=self.planner,
            on_trace=on_trace,
            all_agree=all_agree,
        )
        self.health = self._sessions.health
        #: Of every new input shape so far, how its warm-up went, in order.
        self.warm_ups: list[WarmUp] = []
        #: Input shapes that were run, with the most decode steps that a run of each has made.
        self._warm_shapes: dict[InputShape, int] = {}
        #: How the warm-up before the next record went, until that record says so.
        self._unsaid: WarmUp | None = None
        self._had_session = False
        #: A trace was stored since the last run: the next one is slower for it.
        self._is_after_trace = False

    def warm(self, call: Call, role: Role) -> None:
        """Warm up a call's input shape if it has not run before in this process.

        Where the shape is unknown, every sample is warmed up; a call that must not be repeated
        never is, and its record says so.

        Args:
            role: of the record of a failure.
        Raises:
            Exception: what the call raised, untouched; recorded as failed.
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
        """A sample's controls, written; one at least is planned.

        The bare one is made among the others, so that they are complete only with it. Of what they
        returned only the last is kept: no run shares the memory with outputs of earlier ones, and a
        static cache finds the place where its CUDA graphs were recorded. Where the warm-up was of a
        shorter call, the first may be slow for the lengths that it comes to first; then it does
        not count, and there is one more.

        Raises:
            Exception: what the call raised, untouched; the controls before it stay.
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

    def recorded(self, call: Call) -> Outcome:
        """A sample's recorded run, in a session of its own, recorded.

        Before the process's first one is a session that nobody keeps.

        Raises:
            Exception: what the call raised, untouched; recorded as failed.
            StorageError: the trace or the record could not be written.
        """
        self.warm(call, "recorded")
        self._open_profiler(call)
        self._is_after_trace = True
        outcome = self._sessions.recorded(call, **self._say_warm_up())
        self.records.write([outcome.record])
        return outcome

    def detach(self) -> None:
        """Detach CUPTI, where that is possible."""
        synchronize(self._devices)
        self.attachment.detach()

    def failed(self, call: Call, reason: str, role: Role) -> None:
        """Record that a run could not be made at all."""
        self.records.failed(call, reason, role)

    def _leave_trace_behind(self, call: Call) -> None:
        # A run right after a stored trace took 4 % to 6 % longer (measured attached).
        if self._is_after_trace and call.repeatable:
            self._controls.plain(call)
        self._is_after_trace = False

    def _open_profiler(self, call: Call) -> None:
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

    def _control(self, call: Call, how: Controls, *, index: int) -> Outcome:
        return self._controls.control(
            call,
            index=index,
            bare=how.bare and index == how.planned // 2,
            planned_controls=how.planned,
            **self._say_warm_up(),
        )

    def _is_unsure(self, made: Sequence[RunRecord], reached: int) -> bool:
        """Whether a sample's only control may have been the first of its lengths."""
        times = _times(made)
        return len(times) == 1 and not self._all_agree(not is_late(times[0], reached))

    def _is_done(self, made: Sequence[RunRecord], how: Controls) -> bool:
        totals = [times.total_ns for times in _times(made)]
        if len(made) < how.planned + how.bare:
            return False
        if how.enough is None or len(totals) >= how.most:
            return True
        return self._all_agree(how.enough(totals))

    def _say_warm_up(self) -> dict[str, Any]:
        unsaid, self._unsaid = self._unsaid, None
        return {} if unsaid is None else {"warm_up": unsaid.as_dict()}


def _shape_of(call: Call) -> InputShape:
    """The call's input shape; one that is unknown may be new with every sample."""
    return call.shape or ((call.sample_id, ()),)


def _times(made: Sequence[RunRecord]) -> list[ControlTimes]:
    """Of the controls that are not bare, in the order made."""
    controls = [record.control for record in made]
    return [times for times in controls if times is not None and not times.bare]
