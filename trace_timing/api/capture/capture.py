"""capture(): record the generate() calls of a user's own loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from trace_timing.api.capture.hooks import Hooks
from trace_timing.api.capture.manifest import begun, manifest_of
from trace_timing.api.capture.options import CaptureOptions
from trace_timing.api.capture.retention import KeepPolicy, TraceRetention
from trace_timing.api.capture.session import Session
from trace_timing.errors import UsageError, did_you_mean
from trace_timing.recording.hooks.attach import attach
from trace_timing.recording.hooks.components import component_ranges
from trace_timing.recording.model.locate import read_overrides, require_module, resolve
from trace_timing.recording.profiling.detach import attachment_of_process
from trace_timing.recording.profiling.switch import switch_of_process
from trace_timing.recording.runs.calls import RunSettings, SinkSlot, devices_of
from trace_timing.recording.runs.profiler import open_session
from trace_timing.recording.runs.profiler_sink import ProfilerSink
from trace_timing.recording.runs.ranks import Shard, all_agree, shard_of_process
from trace_timing.recording.runs.runner import Runner
from trace_timing.recording.runs.step_planner import StepPlanner, switch_for
from trace_timing.recording.storage.directory import exclusive, open_directory

__all__ = ["Session", "capture"]


@contextmanager
def capture(
    directory: str | Path, model: Any, options: CaptureOptions | None = None, **changes: Any
) -> Iterator[Session]:
    """Record generate() calls of a model into a capture directory.

        with trace_timing.capture("traces/", model) as session:
            output = session.generate("sample 1", meta={"tier": "easy"}, **inputs)

    The model is changed only by hooks, which are removed at the end, also when the body raises.
    Under torchrun each rank writes its own files into the one directory.

    Args:
        directory: the capture's own folder, created if absent.
        changes: fields of `CaptureOptions`, by name. The most used: `control` (runs of each sample
            without the profiler), `record_every` (record every so many samples),
            `record_steps` (decode steps to record of a run, or "all"), `precision` (as "3%"),
            `profile` ("ranges" or "full"), `keep` ("json", "store", "both", "first:N"), `resume`.
    Raises:
        UsageError: the directory holds a capture and `resume` is not set; the settings differ
            from those that it was begun with; another capture is writing into it; the model is no
            torch module.
        CaptureError: the model's stages cannot be found.
    """
    require_module(model)
    chosen = _chosen(options, changes)
    if chosen.record_steps != "all" and chosen.record_steps < 1:
        raise UsageError(
            f"record_steps is {chosen.record_steps}", remedy="give a number from 1 on, or 'all'"
        )
    shard = shard_of_process()
    with exclusive(Path(directory), rank=shard.rank):
        yield from _sessions(Path(directory), model, chosen, shard)


def _chosen(options: CaptureOptions | None, changes: dict[str, Any]) -> CaptureOptions:
    """The options with the changes made."""
    known = [field.name for field in fields(CaptureOptions)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise UsageError(
            f"capture has no option {unknown[0]}",
            why=f"its options are {', '.join(known)}",
            remedy=f"{did_you_mean(unknown[0], known)}see help(trace_timing.capture)",
        )
    return replace(options or CaptureOptions(), **changes)


def _sessions(
    directory: Path, model: Any, chosen: CaptureOptions, shard: Shard
) -> Iterator[Session]:
    """Yields the one session of a capture, and closes it at the end."""
    place = open_directory(
        directory,
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
    hooks = Hooks(functools.partial(attach, stages, slot), _details(chosen, model, slot))
    switch = switch_for(chosen.profile, backend, switch_of_process())
    first_device = next(iter(devices_of(model)), None)
    runner = Runner(
        model=model,
        slot=slot,
        session=recorder,
        directory=place,
        settings=RunSettings(
            profile=chosen.profile, cuda_cache=chosen.cuda_cache, warm_up=chosen.warm_up
        ),
        unhooked=hooks.unhooked,
        on_trace=TraceRetention(place, KeepPolicy.parse(chosen.keep)).apply,
        attachment=attachment_of_process(first_device),
        planner=StepPlanner(model, chosen.record_steps, switch=switch),
        all_agree=functools.partial(all_agree, device=first_device or "cpu")
        if chosen.tensor_parallel
        else lambda agrees: agrees,
    )
    with hooks:
        session = Session(model, runner, place, manifest, chosen, hooks)
        try:
            yield session
        finally:
            session.close()


def _details(
    options: CaptureOptions, model: Any, slot: SinkSlot
) -> Callable[[], AbstractContextManager[None]]:
    if options.detail == "stages":
        return nullcontext
    return functools.partial(component_ranges, model, lambda: _is_recording(slot))


def _is_recording(slot: SinkSlot) -> bool:
    return isinstance(slot.sink, ProfilerSink) and slot.sink.is_recording
