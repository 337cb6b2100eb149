"""Count the damage that faults did to written files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields


@dataclass
class Damage:
    """Counts of damage, all of which must be 0."""

    #: Results that are lost or unreadable.
    lost: int = 0
    #: Results that are there twice.
    doubled: int = 0
    #: Files, or a file and its record, of different runs side by side.
    mixed: int = 0
    #: Commands that ended without a message and exit code, or left temporary files for good.
    unclean: int = 0

    def __iadd__(self, other: Damage) -> Damage:
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))
        return self

    @property
    def any(self) -> bool:
        """Whether there is any damage."""
        return any(getattr(self, item.name) for item in fields(self))


@dataclass
class Tally:
    """Counts for one fault of one command."""

    fault: str
    command: str
    times: int = 0
    damage: Damage = field(default_factory=Damage)
    #: How often the fault hit the running command; or why it could not be made here.
    note: str = ""

    def line(self) -> str:
        """A row of the table."""
        d = self.damage
        counts = f"{d.lost:5} {d.doubled:8} {d.mixed:6} {d.unclean:8}"
        return f"{self.fault:34} {self.command:9} {self.times:6} {counts}  {self.note}".rstrip()


def table(tallies: Iterable[Tally]) -> str:
    """Text of all rows and their sum."""
    rows = list(tallies)
    total = Tally("all", "", sum(row.times for row in rows))
    for row in rows:
        total.damage += row.damage
    heads = f"{'fault':34} {'command':9} {'times':>6} {'lost':>5} {'doubled':>8} {'mixed':>6}"
    return "\n".join([f"{heads} {'unclean':>8}", *(row.line() for row in (*rows, total))])
