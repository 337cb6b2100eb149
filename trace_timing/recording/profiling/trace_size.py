"""How large a run's trace will be, by the one before it; a run whose trace nobody could open is
refused before it is made."""

from __future__ import annotations

from trace_timing.errors import CaptureError

#: Of Kineto's JSON. Perfetto and Chrome hold a trace in at most 4 GiB of memory, several times its
#: text, and Kineto builds the text in memory too.
MOST_BYTES = 2 << 30
_GB = 1e9


class TraceSize:
    """Estimates a trace's size from the forwards recorded in it: prefill and each decode step."""

    def __init__(self) -> None:
        self._a_forward: float | None = None

    def learn(self, json_bytes: int, steps: int) -> None:
        """Take the size of a trace with so many decode steps; without any it tells nothing."""
        if steps:
            self._a_forward = json_bytes / (steps + 1)

    def fits(self, steps: int | None) -> bool:
        """Whether a trace of so many decode steps may be made; so too where that is not known."""
        return self._expected(steps) <= MOST_BYTES

    def too_large(self, steps: int, *, fewer: bool) -> CaptureError:
        """The error for a run whose trace does not fit.

        Args:
            fewer: whether fewer of its steps can be recorded.
        """
        a_forward = self._a_forward or 0.0
        most = max(int(MOST_BYTES / a_forward) - 1, 1) if a_forward else 1
        return CaptureError(
            f"the trace of {steps:,} decode steps would have some "
            f"{self._expected(steps) / _GB:.1f} GB of JSON",
            why=f"a step took {a_forward / 1e6:.1f} MB in the session before, and no viewer opens "
            f"more than {MOST_BYTES / _GB:.1f} GB",
            remedy=f"record at most {most:,} steps of a run with --record-steps; all are timed"
            if fewer
            else f"generate at most {most + 1:,} new tokens",
        )

    def _expected(self, steps: int | None) -> float:
        return 0.0 if steps is None or self._a_forward is None else self._a_forward * (steps + 1)
