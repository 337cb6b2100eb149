"""The segments of a control run, and a form of them that takes a tenth of the memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import overload

import msgspec

from trace_timing.stages import Stage

_Labels = tuple[tuple[Stage, int | None], ...]


# Without gc: a capture of thousands of samples has millions of them, and none refers to another.
class ControlSegment(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One stretch of a control run between two consecutive CUDA events.

    Belongs to the stage entered at its first event; the segments of a run are in time order and
    sum to its total. `step` is None for stages without a number. In JSON a row [stage, step, ns]:
    a control of a thousand tokens has four thousand of them.
    """

    stage: Stage
    step: int | None
    duration_ns: int


class PackedSegments(Sequence[ControlSegment]):
    """Segments as they are held while thousands of samples are analysed.

    The durations are 8 bytes each; stages and steps are shared by all controls that take the same
    course, as those of one sample do. A segment is made when it is asked for.
    """

    __slots__ = ("_durations_ns", "_labels")

    def __init__(self, segments: Iterable[ControlSegment]) -> None:
        parts = tuple(segments)
        self._labels = _shared(tuple((part.stage, part.step) for part in parts))
        self._durations_ns = array("q", [part.duration_ns for part in parts])

    def __len__(self) -> int:
        return len(self._durations_ns)

    def __iter__(self) -> Iterator[ControlSegment]:
        for (stage, step), ns in zip(self._labels, self._durations_ns, strict=True):
            yield ControlSegment(stage=stage, step=step, duration_ns=ns)

    @overload
    def __getitem__(self, at: int) -> ControlSegment: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[ControlSegment, ...]: ...
    def __getitem__(self, at: int | slice) -> ControlSegment | tuple[ControlSegment, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        stage, step = self._labels[at]
        return ControlSegment(stage=stage, step=step, duration_ns=self._durations_ns[at])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (tuple, PackedSegments)) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@lru_cache(maxsize=4096)
def _shared(labels: _Labels) -> _Labels:
    """The first of all equal ones."""
    return labels
