"""An open capture, which makes the runs of a user's own loop or of the command's samples."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from trace_timing.api.capture.hooks import Hooks
from trace_timing.api.capture.options import CaptureOptions
from trace_timing.api.capture.precision import Precision, fraction, totals_by_sample
from trace_timing.errors import UsageError
from trace_timing.recording.profiling.detach import NOT_SHOWN
from trace_timing.recording.profiling.session_health import Finding
from trace_timing.recording.runs.calls import Call, random_state, restore, shape_of
from trace_timing.recording.runs.plan import RunPlan
from trace_timing.recording.runs.ranks import shard_of_process
from trace_timing.recording.runs.runner import Controls, Runner
from trace_timing.recording.runs.step_planner import notes_on_whole_runs
from trace_timing.recording.runs.warm_up import new_tokens_of, shortened, warm_up_summary
from trace_timing.recording.samples import count_tokens
from trace_timing.recording.storage.directory import CaptureDirectory, finished, read_records
from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import Role, RunRecord

T = TypeVar("T")


class Session:
    """An open capture: makes runs and knows which are done. Created by `capture`."""

    def __init__(
        self,
        model: Any,
        runner: Runner,
        place: CaptureDirectory,
        manifest: Manifest,
        options: CaptureOptions,
        hooks: Hooks,
    ) -> None:
        self.options = options
        self.plan = RunPlan(
            control=options.control,
            record_every=options.record_every,
            most_controls=options.most_controls,
        )
        self._model = model
        self._runner = runner
        self._place = place
        self._manifest = manifest
        self._hooks = hooks
        share = fraction(options.precision)
        known = read_records(place.runs)
        runner.planner.learn(known)
        before = () if share is None else totals_by_sample(known)
        self._precision = None if share is None else Precision(share, before)
        self._repeats: Counter[str] = Counter()
        self._indices: dict[str, int] = {}
        self._singles = 0
        together = shard_of_process().world if options.tensor_parallel else 1
        self._done = finished(place, together=together)
        self._noted: Any = None

    def generate(self, sample_id: str, meta: Mapping[str, Any] | None = None, **inputs: Any) -> Any:
        """`model.generate(**inputs)`, run as its controls, then recorded once.

        After the recorded run CUPTI is detached, if possible, so that the next sample's controls
        run without a profiler attached. The same id again is the sample's next repeat: another
        recorded run. Runs that exist already (after a resume) are not made again; if none is left
        to make, the call is made once, unmeasured.

        Returns:
            The unchanged output of generate() in the last of the runs.
        Raises:
            Exception: whatever generate() raised; the run is recorded as failed.
            UsageError: the capture's order is controls-first, which needs all samples at once.
        """
        return self._own_loop(self.call(sample_id, inputs, meta))

    def wrap(
        self,
        function: Callable[..., T],
        *,
        sample_id: Callable[..., str] | None = None,
        meta: Callable[..., Mapping[str, Any]] | None = None,
        repeatable: bool = False,
    ) -> Callable[..., T]:
        """Wrap a function that calls the model in its own loop; each of its calls becomes a run.

        Args:
            sample_id, meta: functions of a call's arguments that give the run's id and metadata;
                without them ids are numbers.
            repeatable: whether a call may be made several times, as `generate` does. By default
                each call is made once: the first is a control, the second is recorded, and so on.
        """

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> T:
            name = sample_id(*args, **kwargs) if sample_id else f"call-{self._calls():06d}"
            seen: dict[str, Any] = {}
            run = functools.partial(self._in_generate, seen, function, *args, **kwargs)
            call = self._call(
                name,
                run,
                meta=meta(*args, **kwargs) if meta else {},
                inputs=seen,
                shape=shape_of(*args, **kwargs),
                repeatable=repeatable,
            )
            output: T = self._own_loop(call)
            return output

        return recorded

    def measure(
        self,
        sample_id: str,
        run: Callable[[], Any],
        *,
        meta: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        repeatable: bool = True,
    ) -> Any:
        """Make the runs of one call of any function, as `generate` and `wrap` do.

        Args:
            inputs: the model's inputs, for counting tokens and for input shapes.
        """
        known = inputs or {}
        shape = shape_of(**known)
        return self._own_loop(
            self._call(sample_id, run, meta, inputs=known, shape=shape, repeatable=repeatable)
        )

    def call(
        self,
        sample_id: str,
        inputs: Mapping[str, Any],
        meta: Mapping[str, Any] | None = None,
        *,
        repeat: int | None = None,
    ) -> Call:
        """A sample's `model.generate(**inputs)`, not made yet: its next repeat, or `repeat`."""
        fewer = shortened(inputs, self._model)
        # Looked up at the call and not now, so that a bare control gets the method without hooks.
        return self._call(
            sample_id,
            lambda: self._model.generate(**inputs),
            meta,
            short=None if fewer is None else lambda: self._model.generate(**fewer),
            inputs=inputs,
            shape=shape_of(**inputs),
            repeat=repeat,
        )

    def warm(self, call: Call, role: Role) -> int | None:
        """Warm up a call's input shape; returns the whole call's expected ns, if known.

        None where no warm-up was needed. A failure is recorded under `role`.
        """
        before = len(self._runner.warm_ups)
        self._runner.warm(call, role)
        self._note_progress()
        if len(self._runner.warm_ups) == before:
            return None
        return self._runner.warm_ups[-1].expected_ns(new_tokens_of(call.inputs, self._model))

    def make_controls(self, call: Call) -> Any:
        """Make a sample's controls; returns the last one's output."""
        index = self.index_of(call.sample_id)
        if not call.repeatable:
            return self._runner.controls(call, Controls(planned=1)).output
        how = Controls(
            planned=self.plan.controls(index),
            bare=self.plan.is_bare_due(index),
            enough=self._precision,
            most=self.plan.most_controls,
        )
        made = self._runner.controls(call, how)
        if self._precision is not None:
            for totals in totals_by_sample(made.records):
                self._precision.add(totals)
        return made.output

    def make_recorded(self, call: Call, *, detach: bool) -> Any:
        """Make a sample's recorded run, then detach CUPTI if `detach`; returns its output."""
        try:
            return self._runner.recorded(call).output
        finally:
            if detach:
                self._runner.detach()
            self._note_progress()

    def make_both(self, call: Call) -> Any:
        """Make a sample's missing controls and recorded run, then detach CUPTI.

        If nothing is missing, the call is made once, unmeasured.
        """
        self.forget()
        controls, recorded = self._wanted(call)
        if not (controls or recorded):
            return call.run()
        state = random_state()
        output = self.make_controls(call) if controls else None
        if recorded:
            restore(state)
            output = self.make_recorded(call, detach=True)
        return output

    @property
    def last(self) -> tuple[RunRecord, ...]:
        """Records of the last call's runs, in the order made."""
        return self._runner.records.last

    def forget(self) -> None:
        """Clear `last`."""
        self._runner.records.forget()

    def close(self) -> None:
        """Write the final state into the manifest; called by `capture`."""
        self._note_progress(ended=True)

    def findings(self) -> list[Finding]:
        """Defects of the profiler's sessions in this process so far."""
        return self._runner.health.findings()

    def why_attached(self) -> str | None:
        """Why controls after this process's first session count as attached; None if not."""
        attachment = self._runner.attachment
        if attachment.state != "attached":
            return None
        return attachment.why_not or NOT_SHOWN

    def notes(self) -> list[str]:
        """A line for each reason why runs were recorded whole despite more steps than wanted, and
        one on samples that are not known to the precision asked for.
        """
        imprecise = self._precision.note() if self._precision else None
        whole = notes_on_whole_runs(self._runner.planner.whole)
        return [*whole, imprecise] if imprecise else whole

    def index_of(self, sample_id: str) -> int:
        """A sample's number, from 0, in the order of first appearance."""
        return self._indices.setdefault(sample_id, len(self._indices))

    def missing(self, sample_id: str, repeat: int) -> tuple[bool, bool]:
        """Whether a repeatable call still needs controls, and whether a recorded run.

        Controls are made with a sample's first repeat.
        """
        index = self.index_of(sample_id)
        controls = repeat == 0 and self.plan.controls(index) > 0
        return self._due(sample_id, repeat, controls, self.plan.is_recorded(index))

    def failed(
        self, sample_id: str, repeat: int, role: Role, error: Exception, meta: Mapping[str, Any]
    ) -> None:
        """Record that a sample failed before generate() was called."""
        call = Call(sample_id=sample_id, repeat=repeat, run=lambda: None, metadata=meta)
        self._runner.failed(call, str(error), role)

    def _own_loop(self, call: Call) -> Any:
        """Make the runs of one call of a user's own loop."""
        if self.options.order == "controls-first":
            raise UsageError(
                "a loop of one's own cannot make all controls first",
                why="it comes by each sample once",
                remedy="leave order=interleaved, or put samples through capture_samples",
            )
        self._repeats[call.sample_id] += 1
        return self.make_both(call)

    def _wanted(self, call: Call) -> tuple[bool, bool]:
        """Whether to make a call's controls now, and whether its recorded run."""
        if call.repeatable:
            return self.missing(call.sample_id, call.repeat)
        turn, self._singles = self._singles, self._singles + 1
        is_control = self.plan.control != 0 and turn % 2 == 0
        return self._due(call.sample_id, call.repeat, is_control, not is_control)

    def _due(
        self, sample_id: str, repeat: int, controls: bool, recorded: bool
    ) -> tuple[bool, bool]:
        """Of the planned runs, those not complete when the capture was opened."""
        return (
            controls and ("control", sample_id, repeat) not in self._done,
            recorded and ("recorded", sample_id, repeat) not in self._done,
        )

    def _call(
        self,
        sample_id: str,
        run: Callable[[], Any],
        meta: Mapping[str, Any] | None,
        *,
        inputs: Mapping[str, Any] | None = None,
        repeat: int | None = None,
        **more: Any,
    ) -> Call:
        """The repeatable call of a sample, with its index, repeat and metadata."""
        known = {} if inputs is None else inputs
        return Call(
            sample_id=sample_id,
            repeat=self._repeats[sample_id] if repeat is None else repeat,
            run=run,
            inputs=known,
            metadata={**count_tokens(known, getattr(self._model, "config", None)), **(meta or {})},
            **more,
        )

    def _note_progress(self, *, ended: bool = False) -> None:
        """Write the capture's state into the manifest, if something important changed."""
        attachment, warm_ups = self._runner.attachment, self._runner.warm_ups
        weight = (attachment.why_not, attachment.works, attachment.state, bool(warm_ups))
        if not ended and weight == self._noted:
            return
        self._noted = weight
        noted: dict[str, Any] = {
            "sessions": self._runner.health.summary(),
            "detach": attachment.summary(),
        }
        if warm_ups:
            noted["warm_up"] = warm_up_summary(warm_ups)
        settings = {**self._manifest.settings, **noted}
        self._manifest = replace(self._manifest, settings=settings)
        if self._place.rank == 0:
            self._place.write_manifest(self._manifest)

    def _in_generate(
        self, seen: dict[str, Any], function: Callable[..., T], *args: Any, **kwargs: Any
    ) -> T:
        """Call the function in a generate range; its prompt is put into `seen`.

        The prompt is needed to count the new tokens in the function's output.
        """
        with self._hooks.generate_range() as generation:
            output = function(*args, **kwargs)
        if generation is not None and generation.prompt is not None:
            seen["input_ids"] = generation.prompt
        return output

    def _calls(self) -> int:
        self._repeats[""] += 1
        return self._repeats[""] - 1
