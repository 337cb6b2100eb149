"""Collect what cannot be read in a trace: faults that refuse it, and damage to unneeded events."""

from __future__ import annotations

import re
from collections import Counter

import msgspec

from trace_timing.trace.events import Damage, Kind
from trace_timing.trace.kineto.categories import NOT_TIMED, SKIPPED, kind_of
from trace_timing.trace.kineto.decoding import LooseEvent, fits, ns_from_us_text
from trace_timing.trace.kineto.text import Repairs, shown

#: Most digits of a time in a message.
_MOST_SHOWN = 60
_PHASE_TEXT = re.compile(rb'"ph"\s*:\s*"([^"\\]*)"')
_CATEGORY_TEXT = re.compile(rb'"cat"\s*:\s*"([^"\\]*)"')


class Faults:
    """Faults found while reading; `damage` has those that no figure needs."""

    def __init__(self) -> None:
        #: Needed events that cannot be used: how many, and what is wrong with the first.
        self.bad_count = 0
        self.bad_state = "without usable times"
        self.first_bad = ""
        self._left_out: Counter[str] = Counter()
        self._first_left_out = ""
        self._bad_ranges: dict[str, str] = {}
        #: Strings that were repaired.
        self.repairs = Repairs()

    def note_times(self, event: LooseEvent, kind: Kind, state: str) -> None:
        """Note an event whose times cannot be used, and why (`state`)."""
        description = f"{event.label} event {shown(str(event.name).encode())!r} {state}"
        if kind == Kind.RANGE:
            self._bad_ranges.setdefault(event.strict().name, state)
            self._note_left_out(event.label, description)
        elif kind in NOT_TIMED:
            self._note_left_out(event.label, description)
        else:
            self.note_needed(description)

    def note_damaged(self, text: bytes) -> None:
        """Note an event whose text is damaged beyond repair."""
        phase, category = _PHASE_TEXT.search(text), _CATEGORY_TEXT.search(text)
        label = category[1].decode(errors="replace") if category else ""
        description = f"an event whose text is damaged, {shown(text)}"
        if phase and phase[1] != b"X":
            self._note_left_out(f"ph {phase[1].decode(errors='replace')}", description)
        elif label and kind_of(label, cpu_ops=True) in (SKIPPED, *NOT_TIMED):
            self._note_left_out(label, description)
        else:
            self.bad_state = "of damaged text or without usable times"
            self.note_needed(description)

    def note_writers(self, before: set[str], after: set[str]) -> None:
        """Note that another process's events begin after damaged text."""
        pids = ", ".join(sorted(before)[:4]), ", ".join(sorted(after)[:4])
        self.first_bad += (
            f"; before it events are of process {pids[0]}, after it of {pids[1]}: two writers "
            "wrote into one file"
        )

    def note_needed(self, description: str) -> None:
        """Note a needed event that cannot be used."""
        self.bad_count += 1
        self.first_bad = self.first_bad or description

    def _note_left_out(self, label: str, description: str) -> None:
        self._left_out[label] += 1
        self._first_left_out = self._first_left_out or description

    @property
    def damage(self) -> Damage:
        """Content that could not be read as it stands, and is not needed."""
        return Damage(
            left_out=dict(sorted(self._left_out.items())),
            first_left_out=self._first_left_out,
            ranges=self._bad_ranges,
            repaired=self.repairs.count,
            first_repaired=self.repairs.first,
        )


def usable_times(event: LooseEvent) -> tuple[int, int] | str:
    """Begin and duration in ns, or a text of what is wrong with them."""
    start, dur = ns_from_us_text(event.ts), ns_from_us_text(event.dur)
    if start is None:
        return _state("ts", event.ts)
    if dur is None or dur < 0:
        return _state("dur", event.dur)
    if not fits(start + dur):
        return _state("ts + dur", event.ts, event.dur)
    return start, dur


def _state(field: str, *raws: msgspec.Raw) -> str:
    text = " + ".join(bytes(raw).decode(errors="replace")[:_MOST_SHOWN] for raw in raws)
    return f"has no {field}" if text == "null" else f"has {field} = {text}"
