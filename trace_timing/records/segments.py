"""The segments of a control run, and a form of them that takes a tenth of the memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import overload

import msgspec

from trace_timing.stages import Stage

_Labels = tuple[tuple[Stage, ...], tuple[int | None, ...]]


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


class PackedSegments(Sequence[ControlSegment]):
    """Segments as they are held while thousands of samples are analysed.

    The durations are 8 bytes each; stages and steps are shared by all controls that take the same
    course, as those of one sample do. A segment is made when it is asked for.
    """

    __slots__ = ("_durations_ns", "_stages", "_steps")

    def __init__(self, segments: Iterable[ControlSegment]) -> None:
        made = tuple(segments)
        labels = tuple(part.stage for part in made), tuple(part.step for part in made)
        self._stages, self._steps = _shared(labels)
        self._durations_ns = array("q", [part.duration_ns for part in made])

    def __len__(self) -> int:
        return len(self._durations_ns)

    def __iter__(self) -> Iterator[ControlSegment]:
        for stage, step, ns in self.parts():
            yield ControlSegment(stage=stage, step=step, duration_ns=ns)

    def parts(self) -> Iterator[tuple[Stage, int | None, int]]:
        """Stage, step and duration of each segment, which need not be made for it."""
        return zip(self._stages, self._steps, self._durations_ns, strict=True)

    @overload
    def __getitem__(self, at: int) -> ControlSegment: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[ControlSegment, ...]: ...
    def __getitem__(self, at: int | slice) -> ControlSegment | tuple[ControlSegment, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        stage, step, ns = self._stages[at], self._steps[at], self._durations_ns[at]
        return ControlSegment(stage=stage, step=step, duration_ns=ns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (tuple, PackedSegments)) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


def parts_of(segments: Sequence[ControlSegment]) -> Iterator[tuple[Stage, int | None, int]]:
    """Stage, step and duration of each segment, in whatever form they are held."""
    if isinstance(segments, PackedSegments):
        return segments.parts()
    return ((part.stage, part.step, part.duration_ns) for part in segments)


@lru_cache(maxsize=4096)
def _shared(labels: _Labels) -> _Labels:
    """The first of all equal ones."""
    return labels
