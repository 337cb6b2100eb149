"""capture(): the recorder around a user's own loop."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from trace_timing.api.capture_manifest import begun, manifest_of
from trace_timing.api.capture_options import CaptureOptions
from trace_timing.api.keeping import Keep, Keeper
from trace_timing.recording import ranges
from trace_timing.recording.components import component_ranges
from trace_timing.recording.files import CaptureDirectory, finished, open_directory
from trace_timing.recording.health import Finding
from trace_timing.recording.inputs import count_tokens
from trace_timing.recording.resolver import read_overrides, resolve
from trace_timing.recording.runner import (
    TOKENS_DIFFER,
    Call,
    Runner,
    RunSettings,
    SinkSlot,
)
from trace_timing.recording.session import open_session
from trace_timing.recording.shards import shard_of_process
from trace_timing.recording.sinks import ProfilerSink
from trace_timing.recording.warmup import warm_up
from trace_timing.records import Manifest, RunRecord

T = TypeVar("T")


@contextmanager
def capture(
    directory: str | Path, model: Any, options: CaptureOptions | None = None, **changes: Any
) -> Iterator[Session]:
    """Record generate() calls of a model into a capture directory.

        with trace_timing.capture("traces/", model) as session:
            output = session.generate("sample 1", meta={"tier": "easy"}, **inputs)

    Nothing of the model is changed but for hooks, and those are gone afterwards, also when the
    body raises. Under torchrun each rank writes its own files into the one directory.

    Args:
        changes: fields of `CaptureOptions`, by name.
    Raises:
        UsageError: the directory holds a capture and `resume` is not set; the settings differ
            from those that it was begun with.
        CaptureError: the model's stages cannot be found.
    """
    chosen = replace(options or CaptureOptions(), **changes)
    shard = shard_of_process()
    place = open_directory(
        Path(directory),
        rank=shard.rank,
        together=shard.world if chosen.tensor_parallel else 1,
        resume=chosen.resume,
    )
    recorder, backend = open_session(chosen.profile)
    overrides = read_overrides(chosen.stages_of) if chosen.stages_of else None
    stages = resolve(model, overrides)
    manifest = manifest_of(model, stages, chosen, shard, backend)
    manifest = begun(place, manifest, shard)
    slot = SinkSlot()
    hooks = _Hooks(functools.partial(ranges.attach, stages, slot), _details(chosen, model, slot))
    keeper = Keeper(place, Keep.parse(chosen.keep))
    runner = Runner(
        model=model,
        slot=slot,
        session=recorder,
        directory=place,
        settings=RunSettings(
            profile=chosen.profile,
            controls=chosen.control,
            cuda_cache=chosen.cuda_cache,
            settle=chosen.warm_up,
        ),
        detached=hooks.detached,
        on_trace=keeper.keep,
    )
    with hooks:
        session = Session(model, runner, place, manifest, chosen, hooks)
        try:
            yield session
        finally:
            session.close()


class Session:
    """An open capture: makes runs and knows which are done. Made by `capture`."""

    def __init__(
        self,
        model: Any,
        runner: Runner,
        place: CaptureDirectory,
        manifest: Manifest,
        options: CaptureOptions,
        hooks: _Hooks,
    ) -> None:
        self._model = model
        self._runner = runner
        self._place = place
        self._manifest = manifest
        self._options = options
        self._hooks = hooks
        self._repeats: Counter[str] = Counter()
        together = shard_of_process().world if options.tensor_parallel else 1
        self._done = finished(place, together=together)
        self._is_warm = False
        self._dropped_pairs = 0

    def generate(self, sample_id: str, meta: Mapping[str, Any] | None = None, **inputs: Any) -> Any:
        """`model.generate(**inputs)`, profiled once and run K times more as its control.

        The same id again is its next repeat. A run that is there already (after a resume) is made
        without being recorded.

        Returns:
            What generate() returned in the profiled run, untouched.
        Raises:
            Exception: what generate() raised, untouched; the run is recorded as failed.
        """
        # Looked up at the call, not now: a bare control finds the model without its hooks.
        return self.measure(
            sample_id, lambda: self._model.generate(**inputs), meta=meta, inputs=inputs
        )

    def wrap(
        self,
        function: Callable[..., T],
        *,
        sample_id: Callable[..., str] | None = None,
        meta: Callable[..., Mapping[str, Any]] | None = None,
        repeatable: bool = False,
    ) -> Callable[..., T]:
        """A function that calls the model its own way, with each of its calls recorded as a run.

        Args:
            sample_id, meta: of a call's arguments, the run's id and metadata; without, ids count.
            repeatable: True where a call may be made again for its control; as it is, the function
                is called once, and its runs have no control.
        """

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> T:
            name = sample_id(*args, **kwargs) if sample_id else f"call-{self._calls():06d}"
            run = functools.partial(self._in_generate, function, *args, **kwargs)
            known = meta(*args, **kwargs) if meta else {}
            output: T = self.measure(name, run, meta=known, repeatable=repeatable)
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
        """Make the runs of one call and record them; what `generate` and `wrap` come down to."""
        repeat = self._repeats[sample_id]
        self._repeats[sample_id] += 1
        if self.is_done(sample_id, repeat):
            return run()
        known = inputs or {}
        call = Call(
            sample_id=sample_id,
            repeat=repeat,
            run=run,
            inputs=known,
            metadata={**count_tokens(known, getattr(self._model, "config", None)), **(meta or {})},
            repeatable=repeatable,
        )
        if not self._is_warm or repeat == 0:
            self._warm_recorded(call)
        outcome = self._runner.group(call)
        self._dropped_pairs += sum(record.reason == TOKENS_DIFFER for record in self.last)
        return outcome.output

    @property
    def last(self) -> tuple[RunRecord, ...]:
        """Records of the last call: the profiled run and its controls, in the order made."""
        return self._runner.last

    def close(self) -> None:
        """Write into the manifest how it went; `capture` calls it."""
        outcome = {"dropped_pairs": self._dropped_pairs, **self._runner.health.summary()}
        self._note("sessions", outcome)

    def findings(self) -> list[Finding]:
        """What is wrong with the profiler's sessions in this process so far."""
        return self._runner.health.findings()

    def is_done(self, sample_id: str, repeat: int) -> bool:
        """Whether a run was there, with its controls, when the capture was opened."""
        return (sample_id, repeat) in self._done

    def skip(self, sample_id: str) -> None:
        """Count a repeat of a sample as made."""
        self._repeats[sample_id] += 1

    def failed(self, sample_id: str, error: Exception, meta: Mapping[str, Any]) -> None:
        """Record that a sample failed before generate() was called."""
        repeat = self._repeats[sample_id]
        self._repeats[sample_id] += 1
        call = Call(sample_id=sample_id, repeat=repeat, run=lambda: None, metadata=meta)
        self._runner.failed(call, str(error))

    def _warm_recorded(self, call: Call) -> None:
        try:
            self._warm(call)
        except BaseException as error:
            reason = f"while warming up: {type(error).__name__}: {error}"
            self._runner.failed(call, reason)
            raise

    def _warm(self, call: Call) -> None:
        first, self._is_warm = not self._is_warm, True
        if not self._options.warm_up or not call.repeatable:
            return
        if not first:
            # Once for every sample: the first call of a new shape took 2 to 3 times as long as the
            # next on an H200, by a time that grew with its tokens: plans built for each length?
            self._runner.plain_total(call)
            return
        result = warm_up(lambda: self._runner.plain_total(call))
        if self._options.control:
            self._runner.early_controls(call)
        self._runner.throwaway(call)
        self._note("warm_up", asdict(result))

    def _note(self, name: str, value: Any) -> None:
        settings = {**self._manifest.settings, name: value}
        self._manifest = replace(self._manifest, settings=settings)
        if self._place.rank == 0:
            self._place.write_manifest(self._manifest)

    def _in_generate(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        with self._hooks.generate_range():
            return function(*args, **kwargs)

    def _calls(self) -> int:
        self._repeats[""] += 1
        return self._repeats[""] - 1


def _details(
    options: CaptureOptions, model: Any, slot: SinkSlot
) -> Callable[[], AbstractContextManager[None]]:
    if options.detail == "stages":
        return nullcontext
    return functools.partial(component_ranges, model, lambda: isinstance(slot.sink, ProfilerSink))


class _Hooks(AbstractContextManager["_Hooks"]):
    """The hooks of a capture: on for its length, off around a bare control."""

    def __init__(
        self,
        attach: Callable[[], ranges.Attachment],
        details: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._attach = attach
        self._details = details
        self._detail: AbstractContextManager[None] = nullcontext()
        self._attachment: ranges.Attachment | None = None

    def __enter__(self) -> _Hooks:
        self._attachment = self._attach()
        self._attachment.__enter__()
        self._detail = self._details()
        self._detail.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._attachment is not None:
            self._detail.__exit__(None, None, None)
            self._attachment.__exit__(None, None, None)
            self._attachment = None

    @contextmanager
    def detached(self) -> Iterator[None]:
        """Every hook off within, on again afterwards."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def generate_range(self) -> AbstractContextManager[Any]:
        """A `generate` range around a user's own loop."""
        if self._attachment is None:  # a bare control
            return nullcontext()
        return self._attachment.generate_range()
