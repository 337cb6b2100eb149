"""Samples put through generate() one by one, each failing alone: the loop that the command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trace_timing.api.capturing import Session
from trace_timing.recording.files import StorageError
from trace_timing.recording.inputs import Sample, prepare, seed_everything
from trace_timing.records import RunRecord


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a capture of samples is, after one of its runs."""

    done: int
    total: int
    #: The profiled run and its controls, or what failed; empty where the run was there already.
    records: tuple[RunRecord, ...]


@dataclass(frozen=True, kw_only=True)
class SampleLoop:
    """How samples are put through a model."""

    max_new_tokens: int = 32
    repeats: int = 1
    seed: int = 0
    generate_options: Mapping[str, Any] = field(default_factory=dict)


def capture_samples(
    session: Session,
    samples: Sequence[Sample],
    model: Any,
    processor: Any,
    loop: SampleLoop,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Put every sample through generate(), `repeats` times; a sample that fails fails alone.

    Yields:
        a step after each run; between two of them the caller may draw, or end the loop.
    Raises:
        StorageError: the disk is full; everything before is stored.
    """
    plan = [(sample, repeat) for repeat in range(loop.repeats) for sample in samples]
    for done, (sample, repeat) in enumerate(plan, 1):
        if stop():
            return
        if session.is_done(sample.id, repeat):
            session.skip(sample.id)
            yield Step(done=done, total=len(plan), records=())
            continue
        _one_sample(session, sample, model, processor, loop)
        yield Step(done=done, total=len(plan), records=session.last)


def _one_sample(
    session: Session, sample: Sample, model: Any, processor: Any, loop: SampleLoop
) -> None:
    try:
        prepared = prepare(sample, processor, model)
    except Exception as error:  # whatever a processor makes of odd input fails this sample alone
        session.failed(sample.id, error, sample.metadata)
        return
    seed_everything(loop.seed)
    tokens = {"max_new_tokens": sample.max_new_tokens or loop.max_new_tokens}
    arguments = {**prepared.inputs, **loop.generate_options, **tokens}
    meta = {**prepared.metadata, **tokens, **sample.metadata}
    try:
        session.generate(sample.id, meta=meta, **arguments)
    except StorageError:
        raise
    except Exception:  # recorded as failed by the runner; the other samples go on
        return
