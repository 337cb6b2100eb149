"""The segments of a control run, and a form of them that takes a tenth of the memory."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Generic, TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from trace_timing.stages import Stage

Key = TypeVar("Key", bound=Hashable)
IntArray = NDArray[np.int64]


# Without gc: a capture of thousands of samples has millions of them, and none refers to another.
class ControlSegment(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """The time of a control between two consecutive CUDA events.

    It belongs to the stage entered at the first event; the segments of a run are in time order and
    sum to its total. `step` is None for stages without a number. In JSON a list [stage, step, ns],
    since a control of a thousand tokens has four thousand segments.
    """

    stage: Stage
    step: int | None
    duration_ns: int


#: The numbers that a stage's first step may have.
_FIRST_STEP: Mapping[Stage, tuple[int, ...]] = {"decode": (1,), "sampling": (0, 1)}


@dataclass(frozen=True)
class Groups(Generic[Key]):
    """Some segments of a run by key: their places in it, and for each the number of its key."""

    keys: tuple[Key, ...]
    at: IntArray
    group: IntArray

    def sums(self, durations_ns: IntArray) -> dict[Key, int]:
        """Each key → the sum of its segments."""
        sums = np.zeros(len(self.keys), np.int64)
        np.add.at(sums, self.group, durations_ns[self.at])
        return dict(zip(self.keys, sums.tolist(), strict=True))


def _grouped(keys: Iterable[Key | None]) -> Groups[Key]:
    """Groups of the segments whose key is not None, in order of first appearance."""
    numbers: dict[Key, int] = {}
    places = [
        (at, numbers.setdefault(key, len(numbers)))
        for at, key in enumerate(keys)
        if key is not None
    ]
    at, group = np.array(places, np.int64).reshape(-1, 2).T
    return Groups(tuple(numbers), at, group)


class Course:
    """Stages and steps of a run's segments in order, shared by all controls that take it.

    What depends on them alone is found once: the controls of a sample take the same course, and
    often those of many samples.
    """

    def __init__(self, stages: tuple[Stage, ...], steps: tuple[int | None, ...]) -> None:
        self.stages = stages
        self.steps = steps

    @cached_property
    def by_stage(self) -> Groups[Stage]:
        """All segments by stage."""
        return _grouped(self.stages)

    @cached_property
    def by_decode_step(self) -> Groups[int]:
        """Those of `decode` by step."""
        labels = zip(self.stages, self.steps, strict=True)
        return _grouped(step if stage == "decode" else None for stage, step in labels)

    @cached_property
    def by_step(self) -> Groups[int]:
        """Those of `decode` by step, each with the sampling after it."""
        return _grouped(self._forward_steps())

    @cached_property
    def first_token_at(self) -> int | None:
        """Place after the last segment of sampling[0]; None without one."""
        labels = enumerate(zip(self.stages, self.steps, strict=True), 1)
        return max((at for at, label in labels if label == ("sampling", 0)), default=None)

    @cached_property
    def has_all_steps(self) -> bool:
        """Whether the steps of `decode` are 1, 2, 3 … and those of `sampling` go up by 1, in turn.

        Sampling begins with 0, after the prefill, or with 1 where there is none. Other stages may
        lie inside a step, as a vision encoder does that runs in each.
        """
        labels = zip(self.stages, self.steps, strict=True)
        stepped = [label for label, _ in groupby(x for x in labels if x[0] in _FIRST_STEP)]
        return all(
            not numbers or numbers in [list(range(n, n + len(numbers))) for n in first]
            for stage, first in _FIRST_STEP.items()
            for numbers in [[step for of, step in stepped if of == stage]]
        )

    def within(self, steps: Collection[int]) -> Groups[Stage]:
        """By stage, the segments of these steps and all before the first step."""
        return _within(self, frozenset(steps))

    def _forward_steps(self) -> Iterator[int | None]:
        begun = set()
        for stage, step in zip(self.stages, self.steps, strict=True):
            if stage == "decode" and step is not None:
                begun.add(step)
            elif stage != "sampling" or step not in begun:
                step = None
            yield step


@lru_cache(maxsize=64)
def _within(course: Course, steps: frozenset[int]) -> Groups[Stage]:
    def stages() -> Iterator[Stage | None]:
        counts = True
        for stage, step in zip(course.stages, course.steps, strict=True):
            if step is not None:
                counts = not step or step in steps
            yield stage if counts else None

    return _grouped(stages())


class PackedSegments(Sequence[ControlSegment]):
    """Segments as they are held while thousands of samples are analysed.

    The durations are 8 bytes each; stages and steps are shared by all controls that take the same
    course. A segment is made when it is asked for.
    """

    __slots__ = ("_durations_ns", "course")

    def __init__(self, segments: Iterable[ControlSegment]) -> None:
        made = tuple(segments)
        self.course = _shared(tuple(part.stage for part in made), tuple(part.step for part in made))
        self._durations_ns = array("q", [part.duration_ns for part in made])

    @property
    def durations_ns(self) -> IntArray:
        """Of each segment."""
        return np.frombuffer(self._durations_ns, np.int64)

    def __len__(self) -> int:
        return len(self._durations_ns)

    def __iter__(self) -> Iterator[ControlSegment]:
        labels = zip(self.course.stages, self.course.steps, self._durations_ns, strict=True)
        for stage, step, ns in labels:
            yield ControlSegment(stage=stage, step=step, duration_ns=ns)

    @overload
    def __getitem__(self, at: int) -> ControlSegment: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[ControlSegment, ...]: ...
    def __getitem__(self, at: int | slice) -> ControlSegment | tuple[ControlSegment, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        stage, step = self.course.stages[at], self.course.steps[at]
        return ControlSegment(stage=stage, step=step, duration_ns=self._durations_ns[at])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (tuple, PackedSegments)) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


def packed(segments: Sequence[ControlSegment]) -> PackedSegments:
    """The segments in packed form."""
    return segments if isinstance(segments, PackedSegments) else PackedSegments(segments)


@lru_cache(maxsize=4096)
def _shared(stages: tuple[Stage, ...], steps: tuple[int | None, ...]) -> Course:
    """The one course of these labels."""
    return Course(stages, steps)
