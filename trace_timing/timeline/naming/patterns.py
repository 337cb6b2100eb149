"""Match a user's patterns within a time limit.

Python's `re` can take for ever on a pattern such as (a+)+$, and cannot be stopped. `regex` has a
time limit and reads the same patterns, look-around and back-references included, which engines in
linear time such as RE2 refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from trace_timing.errors import UsageError

#: Longer range names stand for no stage; real ones have a few dozen characters.
MOST_NAME_CHARS = 4096
#: For one name; a sound pattern takes microseconds.
MOST_SECONDS = 1.0


class Pattern(Protocol):
    """What a stage map needs of a pattern; `re.Pattern` and `LimitedPattern` have it."""

    @property
    def pattern(self) -> str:
        """Its text."""

    @property
    def groupindex(self) -> Mapping[str, int]:
        """Its named groups."""

    def fullmatch(self, name: str, /) -> re.Match[str] | None:
        """The match of the whole name, else None."""


@dataclass(frozen=True)
class LimitedPattern:
    """A pattern that gives up, with an error that names it, after MOST_SECONDS on one name.

    Raises:
        re.error: on `groupindex` or `fullmatch`, if it is no pattern.
    """

    pattern: str

    @cached_property
    def _compiled(self) -> Any:
        import regex

        try:
            return regex.compile(self.pattern)
        except regex.error as error:
            raise re.error(str(error)) from error

    @property
    def groupindex(self) -> Mapping[str, int]:
        """Its named groups."""
        groups: Mapping[str, int] = self._compiled.groupindex
        return groups

    def fullmatch(self, name: str, /) -> re.Match[str] | None:
        """The match of the whole name, else None.

        Raises:
            UsageError: it takes too long.
        """
        try:
            match: re.Match[str] | None = self._compiled.fullmatch(name, timeout=MOST_SECONDS)
        except TimeoutError as error:
            raise UsageError(
                f"the stage map's pattern {self.pattern} takes too long",
                why=f"more than {MOST_SECONDS:g} s on the range name {name[:60]!r}",
                remedy="write it without repetition inside repetition, such as (a+)+",
            ) from error
        return match
