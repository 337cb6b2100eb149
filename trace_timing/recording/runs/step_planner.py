"""Plan which steps of each recorded run of a capture are recorded, and why if all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trace_timing.recording.profiling.detach import GRAPHS_RECORDED, GRAPHS_SEEN, CuptiAttachment
from trace_timing.recording.profiling.switch import RecordingSwitch
from trace_timing.recording.runs.calls import Call
from trace_timing.recording.runs.profiler import Backend
from trace_timing.recording.runs.step_plan import RECORD_STEPS, StepPlan, plan_steps
from trace_timing.recording.runs.warm_up import new_tokens_of
from trace_timing.records.manifest import ProfileMode
from trace_timing.records.runs import RunRecord

RecordSteps = int | Literal["all"]
CPU_OPS = "CPU ops are recorded (--profile full), and these cannot be switched off within a session"
PUBLIC = "this torch records CPU ops in every session, and these cannot be switched off within one"
GRAPHS = "CUDA graphs are replayed: that recording can be switched around them is not shown"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Which steps of one run are to be recorded."""

    #: None: every step.
    plan: StepPlan | None = None
    switch: RecordingSwitch | None = None
    #: Why every step is recorded although fewer were wanted.
    why_all: str | None = None
    #: Decode steps to record, as far as is known before the run.
    steps: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the run's record."""
        if self.plan is not None:
            return self.plan.as_dict()
        return {"all": True, **({"why": self.why_all} if self.why_all else {})}


class StepPlanner:
    """Plans the recorded runs of one process.

    Args:
        wanted: steps to record of a run.
        switch: switches recording off and on, or None and why that is impossible.
    """

    def __init__(
        self,
        model: Any,
        wanted: RecordSteps = RECORD_STEPS,
        *,
        switch: tuple[RecordingSwitch | None, str | None] = (None, None),
    ) -> None:
        self._model = model
        self._wanted = wanted
        self._switch, self._why_not = switch
        self._expected: dict[str, int] = {}
        #: Reason → number of runs recorded whole although they have more steps than wanted.
        self.whole: Counter[str] = Counter()

    def learn(self, records: Iterable[RunRecord]) -> None:
        """Note each sample's number of steps from its controls, to expect as many of its recorded
        run."""
        for record in records:
            if record.control is None or record.control.bare or record.status != "ok":
                continue
            steps = len({s.step for s in record.control.segments if s.stage == "decode"})
            if not record.control.segments and record.tokens_out is not None:
                steps = record.tokens_out - 1
            self._expected[record.sample_id] = steps

    def plan(self, call: Call, attachment: CuptiAttachment) -> Planned:
        """Plan which steps of a call's run are recorded."""
        expected = self._expected.get(call.sample_id)
        if expected is None:
            tokens = new_tokens_of(call.inputs, self._model)
            expected = None if tokens is None else tokens - 1
        plan = None if self._wanted == "all" else plan_steps(expected, self._wanted)
        if plan is None:
            return Planned(steps=expected)
        why = self._why_not
        if attachment.why_not in (GRAPHS_SEEN, GRAPHS_RECORDED):
            why = GRAPHS
        if why is None and self._switch is not None:
            return Planned(plan=plan, switch=self._switch, steps=plan.recorded)
        # A call of unknown length counts here even if it is short.
        self.whole[why or ""] += 1
        return Planned(why_all=why, steps=expected)


def switch_for(
    profile: ProfileMode,
    backend: Backend,
    found: tuple[RecordingSwitch | None, str | None],
) -> tuple[RecordingSwitch | None, str | None]:
    """The switch of a capture: none where its sessions record CPU ops."""
    if profile == "full":
        return None, CPU_OPS
    if backend == "public":
        return None, PUBLIC
    return found


def notes_on_whole_runs(whole: Mapping[str, int]) -> list[str]:
    """A line for each reason why runs are recorded whole."""
    return [
        f"every decode step of {runs:,} run{'' if runs == 1 else 's'} was recorded: {why}"
        for why, runs in whole.items()
        if why
    ]
