"""Expected failures, each with what, why and a remedy; caught once, in `commands`."""

from __future__ import annotations

from collections.abc import Iterable

EXIT_GOOD = 0
EXIT_REJECTED = 1
EXIT_USAGE = 2
EXIT_NOTHING_READ = 3
#: `compare`: the verdict on a bound was withheld.
EXIT_WITHHELD = 4
#: Internal error, distinct from all verdicts (EX_SOFTWARE of sysexits.h).
EXIT_DEFECT = 70


class TraceTimingError(Exception):
    """A failure that a user can cause and remedy.

    Args:
        what: one line, what went wrong.
        why: one line, the evidence.
        remedy: one line, what to do about it.
    """

    exit_code = EXIT_USAGE

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return ". ".join(part for part in (self.what, self.why, self.remedy) if part)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross processes.
        return _rebuild, (type(self), self.what, self.why, self.remedy)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`did you mean NAME? ` for the most similar known name; empty if none is similar."""
    import difflib  # imported only on an error

    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(given.lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[near[0]]}? " if near else ""


def needs_extra(what: str, package: str, extra: str) -> UsageError:
    """The error for a missing package of one of the extras."""
    return UsageError(
        f"{what} needs {package}, which is not installed",
        remedy=f"pip install 'trace-timing[{extra}]'",
    )


def _rebuild(cls: type[TraceTimingError], what: str, why: str, remedy: str) -> TraceTimingError:
    return cls(what, why=why, remedy=remedy)


class UsageError(TraceTimingError):
    """An argument or option of the command or call is wrong."""


class TraceError(TraceTimingError):
    """A trace cannot be read, or not be trusted as a whole, and is rejected."""

    exit_code = EXIT_REJECTED


class AttributionError(TraceError):
    """The ranges of one thread cross, so no op has an innermost range."""


class NothingReadError(TraceTimingError):
    """None of the inputs could be read."""

    exit_code = EXIT_NOTHING_READ


class CaptureError(TraceTimingError):
    """A capture cannot start or continue."""

    exit_code = EXIT_REJECTED
