"""The command's loop over samples: make the runs of each; a failure affects only its sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trace_timing.api.capture.session import Session
from trace_timing.recording.runs.calls import Call
from trace_timing.recording.runs.plan import CallCount, count_calls
from trace_timing.recording.samples import Sample, prepare, seed_everything
from trace_timing.recording.storage.directory import StorageError
from trace_timing.records.runs import Role, RunRecord

#: What a step makes for a sample: its controls, its recorded run, or both as far as missing.
Part = Literal["controls", "recorded", "both"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Progress of a capture: one step that has been made."""

    #: What was made for a sample; `there`: it existed already; or the first input's warm-up.
    kind: Part | Literal["there", "warm_up"]
    done: int
    total: int
    sample_id: str
    #: Records of the runs made, failed ones included.
    records: tuple[RunRecord, ...] = ()
    #: After the first input's warm-up: approximate ns of one generate() call.
    call_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class SampleLoop:
    """Settings of the loop."""

    max_new_tokens: int = 32
    repeats: int = 1
    seed: int = 0
    generate_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    sample: Sample
    part: Part
    repeat: int = 0


def planned_calls(session: Session, samples: Sequence[Sample], loop: SampleLoop) -> CallCount:
    """The generate() calls still to be made, without the warm-up of new input shapes."""
    missing = [(task, *_missing(session, task)) for task in _tasks(session, samples, loop)]
    return count_calls(
        session.plan,
        [session.index_of(task.sample.id) for task, controls, _ in missing if controls],
        sum(recorded for *_, recorded in missing),
        samples=len({task.sample.id for task, *parts in missing if any(parts)}),
        precise=session.options.precision is not None,
    )


def capture_samples(
    session: Session,
    samples: Sequence[Sample],
    model: Any,
    processor: Any,
    loop: SampleLoop,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Make the runs of every sample, in the session's order; a failure affects only its sample.

    Controls first: the controls of all samples, then the recorded runs of all samples (`repeats`
    times). Interleaved: a sample's controls, its recorded run and a detach, then the next sample.

    Yields:
        a step after each set of runs of a sample, and one after the first warm-up; between steps
        the caller may draw progress, or end the loop.
    Raises:
        StorageError: the disk is full; everything before is stored.
    """
    tasks = _tasks(session, samples, loop)
    is_first = True
    for done, task in enumerate(tasks, 1):
        if stop():
            return
        where: dict[str, Any] = {"done": done, "total": len(tasks), "sample_id": task.sample.id}
        if not any(_missing(session, task)):
            yield Step(kind="there", **where)
            continue
        session.forget()
        call = _prepared(session, task, model, processor, loop)
        if call is not None and is_first:
            is_first = False
            call, call_ns = _warmed(session, call, task)
            if call_ns is not None:
                yield Step(kind="warm_up", **{**where, "done": done - 1}, call_ns=call_ns)
        if call is not None:
            seed_everything(loop.seed)
            _make(session, call, task.part)
        yield Step(kind=task.part, **where, records=session.last)


def _tasks(session: Session, samples: Sequence[Sample], loop: SampleLoop) -> list[_Task]:
    """The tasks in the session's order."""
    plan = session.plan
    indices = [session.index_of(sample.id) for sample in samples]
    repeats = range(loop.repeats)
    if session.options.order == "interleaved":
        return [
            _Task(sample, "both", repeat)
            for repeat in repeats
            for sample, index in zip(samples, indices, strict=True)
            if plan.is_recorded(index) or (repeat == 0 and plan.controls(index))
        ]
    controls = [
        _Task(sample, "controls")
        for sample, index in zip(samples, indices, strict=True)
        if plan.controls(index)
    ]
    recorded = [
        _Task(sample, "recorded", repeat)
        for repeat in repeats
        for sample, index in zip(samples, indices, strict=True)
        if plan.is_recorded(index)
    ]
    return controls + recorded


def _missing(session: Session, task: _Task) -> tuple[bool, bool]:
    """Whether a task still has to make controls, and whether a recorded run."""
    controls, recorded = session.missing(task.sample.id, task.repeat)
    return controls and task.part != "recorded", recorded and task.part != "controls"


def _warmed(session: Session, call: Call, task: _Task) -> tuple[Call | None, int | None]:
    """The call (None where its warm-up failed), and its approximate ns."""
    try:
        return call, session.warm(call, _role(task))
    except StorageError:
        raise
    except Exception:  # recorded as failed by the runner; the other samples go on
        return None, None


def _make(session: Session, call: Call, part: Part) -> None:
    """Make one task's runs; a failure is recorded and affects only its sample."""
    try:
        if part == "controls":
            session.make_controls(call)
        elif part == "recorded":
            session.make_recorded(call, detach=False)
        else:
            session.make_both(call)
    except StorageError:
        raise
    except Exception:  # recorded as failed by the runner; the other samples go on
        return


def _role(task: _Task) -> Role:
    return "recorded" if task.part == "recorded" else "control"


def _prepared(
    session: Session, task: _Task, model: Any, processor: Any, loop: SampleLoop
) -> Call | None:
    """A sample's generate() call; None where it cannot be made, which is recorded."""
    sample = task.sample
    try:
        prepared = prepare(sample, processor, model)
    except Exception as error:  # whatever a processor makes of odd input fails this sample alone
        session.failed(sample.id, task.repeat, _role(task), error, sample.metadata)
        return None
    tokens = {"max_new_tokens": sample.max_new_tokens or loop.max_new_tokens}
    arguments = {**prepared.inputs, **loop.generate_options, **tokens}
    meta = {**prepared.metadata, **tokens, **sample.metadata}
    return session.call(sample.id, arguments, meta, repeat=task.repeat)
