"""What a mutation changed, and which changes make another valid trace.

A stage may move by more than 5 % without a warning only where every change of the trace is of a
kind in `EVERY`: nothing in the file tells the changed trace from one that was recorded so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from benchmarks.small_traces import Event
from tests.plain.figures import CALLS, OPS, RANGES, device_of, ns, stage_of, whole, word

#: An op may wait so long for its start on an idle device without a warning (docs/integrity.md).
LONGEST_WAIT_NS = 100_000_000
PARTS = ("vision", "vision_encoder", "projector", "text_encoder")


@dataclass(frozen=True)
class Timed:
    """The fields of an event on which figures depend."""

    #: "range", "call" or "op".
    kind: str
    #: Of a range its stage, or generate.
    stage: str
    start: int
    end: int
    #: Process and thread; of an op its process alone.
    place: tuple[str, ...]
    correlation: int
    device: int = -1

    @property
    def length(self) -> int:
        """Its duration."""
        return self.end - self.start


@dataclass(frozen=True)
class Change:
    """An event before and after; None where it is not in that trace, or has no part in figures."""

    before: Timed | None
    after: Timed | None


@dataclass(frozen=True)
class Valid:
    """A kind of change that makes another valid trace."""

    kind: str
    reason: str
    applies: Callable[[Change], bool] = lambda _: False


def changes_of(before: str, after: str) -> list[Change]:
    """What differs in what figures are made of; an event with the most in common is the same."""
    new = timed_of(after)
    old = renamed(timed_of(before), new)
    for event in list(old):
        if event in new:
            old.remove(event)
            new.remove(event)
    found = []
    for event in old:
        match = max(new, key=lambda other: likeness(event, other), default=None)
        if match is not None and likeness(event, match) > 3:
            new.remove(match)
            found.append(Change(event, match))
        else:
            found.append(Change(event, None))
    return found + [Change(None, event) for event in new]


def renamed(old: list[Timed], new: list[Timed]) -> list[Timed]:
    """The old events under the new name of a process or device that has another one throughout."""
    before, after = {e.place[0] for e in old}, {e.place[0] for e in new}
    if len(before - after) != 1 or len(after - before) != 1:
        return old
    (was,), (name,) = before - after, after - before
    return [replace(e, place=(name, *e.place[1:])) if e.place[0] == was else e for e in old]


def likeness(one: Timed, other: Timed) -> int:
    """How many fields are equal, of events of one kind."""
    names = ("stage", "start", "end", "place", "correlation", "device", "length")
    same = sum(getattr(one, name) == getattr(other, name) for name in names)
    return same if one.kind == other.kind else 0


def timed_of(text: str) -> list[Timed]:
    """What figures are made of, of every event that has a part in them."""
    document = json.loads(text)
    events = document if isinstance(document, list) else document["traceEvents"]
    return [one for event in events if (one := timed(event)) is not None]


def timed(event: Event) -> Timed | None:
    """What of an event figures are made of; None where nothing is."""
    category = str(event.get("cat")).lower() if event.get("ph") == "X" else ""
    kinds = {"range": RANGES, "call": CALLS, "op": OPS}
    kind = next((k for k, some in kinds.items() if category in some), None)
    start, length = ns(decimal(event.get("ts"))), ns(decimal(event.get("dur")))
    if kind is None or start is None or length is None:
        return None
    name = "" if event.get("name") is None else str(event["name"])
    stage = "generate" if name == "generate" else stage_of(name)
    if kind == "range" and stage is None:
        return None
    given = event.get("args")
    args: dict[str, Any] = given if isinstance(given, dict) else {}
    places = (event.get("pid"), event.get("tid"))[: 1 if kind == "op" else 2]
    return Timed(
        kind=kind,
        stage=str(stage) if kind == "range" else "",
        start=start,
        end=start + length,
        place=tuple(word(decimal(place)) for place in places),
        correlation=-1 if kind == "range" else whole(args.get("correlation")),
        device=device_of(args, event.get("pid")) if kind == "op" else -1,
    )


def decimal(value: Any) -> Any:
    """A number as the plain reader has it."""
    return json.loads(json.dumps(value), parse_float=Decimal, parse_int=Decimal)


def _part_gone(change: Change) -> bool:
    one, other = change.before, change.after
    return one is not None and one.stage in PARTS and (other is None or other.stage != one.stage)


def _only_times(change: Change, kind: str) -> bool:
    one, other = change.before, change.after
    if one is None or other is None or one.kind != kind:
        return False
    fields = ("stage", "place", "correlation", "device")
    return all(getattr(one, f) == getattr(other, f) for f in fields)


def _moved_ns(change: Change) -> int:
    """By how much the begin or the end moved, whichever moved more."""
    assert change.before is not None
    assert change.after is not None
    starts = change.after.start - change.before.start
    return max(abs(starts), abs(change.after.end - change.before.end))


def _device_later(change: Change) -> bool:
    times = _only_times(change, "op") or _only_times(change, "call")
    return times and _moved_ns(change) <= LONGEST_WAIT_NS


def _host_later(change: Change) -> bool:
    if not _only_times(change, "range"):
        return False
    assert change.before is not None
    return _moved_ns(change) <= max(change.before.length, 50_000)


def _range_more(change: Change) -> bool:
    return change.before is None and change.after is not None and change.after.kind == "range"


def _stage_renamed(change: Change) -> bool:
    one, other = change.before, change.after
    return bool(one and other) and one == replace(other, stage=one.stage)


def _other_helper(change: Change) -> bool:
    one, other = change.before, change.after
    same = bool(one and other) and one == replace(other, place=one.place)
    return same and one.kind == "call" and one.place[0] == other.place[0]


VALID: tuple[Valid, ...] = (
    Valid(
        "range of a part gone or renamed",
        "a model without that part, or one whose part has no range, leaves the same trace; what it "
        "did stands in the stage around it",
        _part_gone,
    ),
    Valid(
        "op or call begins or ends otherwise",
        "a device that lets ops wait for up to 100 ms does the same; what is impossible (an op "
        "before its launch, after a wait for it, over the next one) is found",
        _device_later,
    ),
    Valid(
        "range begins or ends otherwise",
        "a host that was slower or quicker there, by no more than the range is long, does the same",
        _host_later,
    ),
    Valid(
        "a range more",
        "a program that opens one more range, crossing no other, leaves the same trace",
        _range_more,
    ),
    Valid(
        "range renamed",
        "a range with another stage's name is what that stage's range looks like; numbers that are "
        "missing, and a prefill that is, are found",
        _stage_renamed,
    ),
)
#: Of several changes together.
NO_RANGES = Valid(
    "no range left",
    "a recording without ranges is the same: all of it is unattributed, which is exit code 1",
)
WHOLE_STEPS = Valid(
    "last steps gone, with all that they launched",
    "a run that ended earlier leaves the same trace",
)
LAUNCH_AND_OP = Valid(
    "launches gone with their ops",
    "the rest looks like a smaller model; half of a forward's, and those at its begin, are found",
)
HELPER = Valid(
    "call from another thread without ranges",
    "a helper thread's number says nothing",
)
EVERY = (*VALID, NO_RANGES, WHOLE_STEPS, LAUNCH_AND_OP, HELPER)


def valid_kinds(changes: list[Change], after: str) -> list[str] | None:
    """The kinds of all changes; None where one of them is of no kind in `EVERY`."""
    ranges = [event for event in timed_of(after) if event.kind == "range"] if changes else []
    if changes and not ranges:
        return [NO_RANGES.kind]
    if _whole_steps_gone(changes):
        return [WHOLE_STEPS.kind]
    pairs = _gone_together(changes)
    threads = {item.place for item in ranges}
    kinds = [_kind_of(change, pairs, threads) for change in changes]
    return None if None in kinds or not kinds else [kind for kind in kinds if kind is not None]


def _kind_of(change: Change, pairs: set[int], threads: set[tuple[str, ...]]) -> str | None:
    gone = change.before if change.after is None else None
    if gone is not None and gone.kind != "range" and gone.correlation in pairs:
        return LAUNCH_AND_OP.kind
    if _other_helper(change) and not {change.before.place, change.after.place} & threads:
        return HELPER.kind
    return next((valid.kind for valid in VALID if valid.applies(change)), None)


def _gone_together(changes: list[Change]) -> set[int]:
    """Correlation ids of which the call and the op are gone."""
    gone = [c.before for c in changes if c.before is not None and c.after is None]
    calls = {e.correlation for e in gone if e.kind == "call"}
    return calls & {e.correlation for e in gone if e.kind == "op"} - {-1}


def _whole_steps_gone(changes: list[Change]) -> bool:
    """Whether ranges of steps are gone, every launch in them, and every op of these; no more."""
    gone = [c.before for c in changes if c.before is not None and c.after is None]
    ranges = [e for e in gone if e.kind == "range"]
    calls = [e for e in gone if e.kind == "call"]
    launched = {e.correlation for e in calls}
    return (
        len(gone) == len(changes)
        and bool(ranges)
        and all(r.stage in ("decode", "sampling") for r in ranges)
        and all(any(r.start <= c.start < r.end for r in ranges) for c in calls)
        and {e.correlation for e in gone if e.kind == "op"} == launched
    )
