"""Sink of a control: marks on the device's stream at stage boundaries, read afterwards.

A mark is recorded at every stage entry and exit. The segment between two consecutive marks belongs
to the stage that is innermost after the first of them (the one entered, or after an exit the one
returned to), so the segments of a run sum to its total exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any, Literal, Protocol

from trace_timing.records.runs import Clock, ControlTimes
from trace_timing.records.segments import ControlSegment
from trace_timing.stages import GENERATE, Stage
from trace_timing.units import ns_from_ms

#: Stage and step that are innermost from a mark on; None outside `generate`.
Boundary = tuple[Stage | Literal["generate"], int | None] | None


class Marks(Protocol):
    """Time marks that are recorded without waiting."""

    clock: Clock

    def mark(self) -> None:
        """Record a mark after the work so far."""

    def since_first_ns(self) -> list[int]:
        """Nanoseconds of every mark after the first; waits until the last is reached."""


class HostMarks:
    """Marks on the host's clock, without a GPU."""

    clock: Clock = "host"

    def __init__(self) -> None:
        self._times: list[int] = []

    def mark(self) -> None:
        """Read the clock."""
        self._times.append(perf_counter_ns())

    def since_first_ns(self) -> list[int]:
        """Exact to the clock's nanosecond."""
        return [time - self._times[0] for time in self._times]


class StreamMarks:
    """CUDA events on the current stream of one device; recording one does not synchronise.

    Times are read relative to the first event, so that the resolution of half a microsecond does
    not add up over the stages.
    """

    clock: Clock = "device"

    def __init__(self, device: Any, spare: list[Any]) -> None:
        import torch

        self._torch = torch
        self._device = device
        self._spare = spare
        self._events: list[Any] = []

    def mark(self) -> None:
        """Record an event, a spare one if any is left."""
        cuda = self._torch.cuda
        event = self._spare.pop() if self._spare else cuda.Event(enable_timing=True)
        event.record(cuda.current_stream(self._device))
        self._events.append(event)

    def since_first_ns(self) -> list[int]:
        """Wait for the last event, read all, and return them to the spare ones."""
        first = self._events[0]
        self._events[-1].synchronize()
        times = [0] + [ns_from_ms(first.elapsed_time(event)) for event in self._events[1:]]
        self._spare.extend(self._events)
        return times


class ControlSink:
    """Marks every stage entry and exit of one run, and computes its times from the marks."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._open: list[tuple[Stage | Literal["generate"], int | None]] = []
        self._boundaries: list[Boundary] = []

    def enter(self, stage: Stage | Literal["generate"], step: int | None = None) -> None:
        """A stage begins."""
        self._open.append((stage, step))
        self._boundaries.append((stage, step))
        self._marks.mark()

    def exit(self) -> None:
        """The innermost stage ends, and the one around it goes on."""
        self._open.pop()
        self._boundaries.append(self._open[-1] if self._open else None)
        self._marks.mark()

    def times(self) -> ControlTimes:
        """The run's times.

        Waits for the device, so call it only after the run.
        """
        times = self._marks.since_first_ns() if self._boundaries else [0]
        segments = segments_of(self._boundaries, times)
        return ControlTimes(
            total_ns=sum(segment.duration_ns for segment in segments),
            segments=segments,
            clock=self._marks.clock,
        )


def segments_of(boundaries: Sequence[Boundary], times: Sequence[int]) -> tuple[ControlSegment, ...]:
    """The segments between consecutive marks, each with the innermost stage after its first mark.

    Segments between two `generate` are left out; those inside one and in no stage are `other`.

    Args:
        boundaries: n marks' stages, in the order of marking.
        times: n marks' times in ns.
    """
    segments = []
    for boundary, begin, end in zip(boundaries, times, times[1:], strict=False):
        if boundary is None:
            continue
        stage, step = boundary
        inner: Stage = "other" if stage == GENERATE else stage  # type: ignore[assignment]
        segments.append(ControlSegment(stage=inner, step=step, duration_ns=end - begin))
    return tuple(segments)
