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
STEPS = ("decode", "sampling")
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
class Both:
    """What figures are made of before and after, and how they differ."""

    before: list[Timed]
    after: list[Timed]
    changes: list[Change]

    @property
    def one_process(self) -> bool:
        """Whether all host events were of one process before."""
        return len({event.place[0] for event in self.before if event.kind != "op"}) == 1

    @property
    def launched(self) -> set[int]:
        """Correlation ids of ops, before or after."""
        return {e.correlation for e in (*self.before, *self.after) if e.kind == "op"}

    @property
    def launches(self) -> list[Timed]:
        """Calls before that have an op."""
        ids = self.launched
        return [e for e in self.before if e.kind == "call" and e.correlation in ids]

    @property
    def gone_together(self) -> set[int]:
        """Correlation ids of which the call and the op are gone."""
        gone = [c.before for c in self.changes if c.before is not None and c.after is None]
        calls = {e.correlation for e in gone if e.kind == "call"}
        return calls & {e.correlation for e in gone if e.kind == "op"} - {-1}


@dataclass(frozen=True)
class Valid:
    """A kind of change that makes another valid trace."""

    kind: str
    reason: str
    applies: Callable[[Change, Both], bool] = lambda _change, _both: False


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
    document = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    events = document if isinstance(document, list) else document["traceEvents"]
    return [one for event in events if (one := timed(event)) is not None]


def timed(event: Event) -> Timed | None:
    """What of an event figures are made of; None where nothing is."""
    category = str(event.get("cat")).lower() if event.get("ph") == "X" else ""
    kinds = {"range": RANGES, "call": CALLS, "op": OPS}
    kind = next((k for k, some in kinds.items() if category in some), None)
    start, length = ns(event.get("ts")), ns(event.get("dur"))
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
        place=tuple(word(place) for place in places),
        correlation=-1 if kind == "range" else whole(args.get("correlation")),
        device=device_of(args, event.get("pid")) if kind == "op" else -1,
    )


def _gone(change: Change) -> bool:
    return change.before is not None and change.after is None


def _same_but(change: Change, *fields: str) -> bool:
    """Whether the event is there before and after, and no other field differs."""
    one, other = change.before, change.after
    if one is None or other is None:
        return False
    return one == replace(other, **{field: getattr(one, field) for field in fields})


def _of_kind(change: Change, kind: str) -> bool:
    return all(event is None or event.kind == kind for event in (change.before, change.after))


def _moved_ns(change: Change) -> int:
    """By how much the begin or the end moved, whichever moved more."""
    assert change.before is not None
    assert change.after is not None
    starts = change.after.start - change.before.start
    return max(abs(starts), abs(change.after.end - change.before.end))


def _part_gone(change: Change, _: Both) -> bool:
    """Gone, or named generate within generate, which is no stage."""
    one, other = change.before, change.after
    if one is None or one.stage not in PARTS:
        return False
    return other is None or (other.stage == "generate" and _same_but(change, "stage"))


def _op_moved(change: Change, _: Both) -> bool:
    times = _of_kind(change, "op") and _same_but(change, "start", "end")
    return times and _moved_ns(change) <= LONGEST_WAIT_NS


def _call_moved(change: Change, both: Both) -> bool:
    """Between the same launches of its thread."""
    if not (_of_kind(change, "call") and _same_but(change, "start", "end")):
        return False
    assert change.before is not None
    assert change.after is not None
    others = [c.start for c in both.launches if c.place == change.before.place]
    one, other = change.before.start, change.after.start
    return all((start < one) == (start < other) for start in others if start != one)


def _range_moved(change: Change, both: Both) -> bool:
    """Among the same begins and ends of its thread's ranges, by no more than it is long."""
    if not (_of_kind(change, "range") and _same_but(change, "start", "end")):
        return False
    one, other = change.before, change.after
    assert one is not None
    assert other is not None
    others = [r for r in both.after if r.kind == "range" and r.place == one.place and r != other]
    edges = [edge for r in others for edge in (r.start, r.end)]
    same = all(
        (edge < old) == (edge < new)
        for edge in edges
        for old, new in ((one.start, other.start), (one.end, other.end))
        if edge != old
    )
    return same and _moved_ns(change) <= max(one.length, 50_000)


def _range_more(change: Change, both: Both) -> bool:
    one = change.after
    if change.before is not None or one is None or one.kind != "range":
        return False
    others = [r for r in both.after if r.kind == "range" and r.place == one.place]
    return bool(others) and not any(_cross(one, r) or _cross(r, one) for r in others)


def _cross(first: Timed, second: Timed) -> bool:
    return first.start < second.start < first.end < second.end


def _stage_renamed(change: Change, _: Both) -> bool:
    stages = {event.stage for event in (change.before, change.after) if event is not None}
    return _of_kind(change, "range") and _same_but(change, "stage") and "generate" not in stages


def _other_helper(change: Change, both: Both) -> bool:
    """To a thread without ranges, from another such or from the one that has all ranges."""
    if not (_of_kind(change, "call") and _same_but(change, "place")):
        return False
    one, other = change.before, change.after
    assert one is not None
    assert other is not None
    ranged = {r.place for r in both.after if r.kind == "range" and r.place[0] == one.place[0]}
    if one.place[0] != other.place[0] or other.place in ranged:
        return False
    return one.place not in ranged or ranged == {one.place}


def _launches_nothing(change: Change, both: Both) -> bool:
    ids = {event.correlation for event in (change.before, change.after) if event is not None}
    return both.one_process and _of_kind(change, "call") and not ids & both.launched


def _track_renamed(change: Change, both: Both) -> bool:
    return both.one_process and _of_kind(change, "op") and _same_but(change, "place")


def _op_more(change: Change, both: Both) -> bool:
    """One that nothing launched, in a trace without ranges."""
    one = change.after
    if change.before is not None or one is None or one.kind != "op":
        return False
    others = [e for e in both.after if e.kind == "range" or e.correlation == one.correlation != -1]
    return not any(e.kind != "op" for e in others)


def _with_its_op(change: Change, both: Both) -> bool:
    one = change.before
    return _gone(change) and one is not None and one.correlation in both.gone_together


def _without_ranges(change: Change, both: Both) -> bool:
    if any(event.kind == "range" for event in both.after):
        return False
    if _of_kind(change, "op"):
        return _same_but(change, "correlation")
    return _of_kind(change, "call") or _gone(change)


VALID: tuple[Valid, ...] = (
    Valid(
        "no range left",
        "a recording without ranges is the same: all of it is unattributed, whatever launched it, "
        "which is exit code 1",
        _without_ranges,
    ),
    Valid(
        "an op more without launch, no range left",
        "a session that begins between a launch and its op leaves the same; without ranges it is "
        "in the totals alone",
        _op_more,
    ),
    Valid(
        "launch gone with its op",
        "the rest looks like a smaller model; half of a forward's, and those at its begin, are "
        "found",
        _with_its_op,
    ),
    Valid(
        "range of a part gone",
        "a model without that part, or one whose part has no range, leaves the same trace; what it "
        "did stands in the stage around it",
        _part_gone,
    ),
    Valid(
        "op begins or ends otherwise",
        "a device that is slower or quicker, or lets ops wait for up to 100 ms, does the same; "
        "what is impossible (before its launch, after a wait for it, over the next op) is found",
        _op_moved,
    ),
    Valid(
        "launch begins or ends otherwise",
        "a host that was slower or quicker between the launches before and after it does the same; "
        "a launch at another place among them is found by its id",
        _call_moved,
    ),
    Valid(
        "range begins or ends otherwise",
        "a program that opens or closes its range a little earlier or later, by no more than the "
        "range is long and not past another's begin or end, leaves the same trace",
        _range_moved,
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
    Valid(
        "launch from another thread without ranges",
        "a helper thread's number says nothing: what it launches is in the stage that the thread "
        "with the ranges is in, and that it launches at all is warned of",
        _other_helper,
    ),
    Valid(
        "call that launches nothing is another or elsewhere",
        "no window and no op depends on it; of a launch that its op is missing is found",
        _launches_nothing,
    ),
    Valid(
        "op on a track of another name",
        "the process of an op is the name of its track: its launch tells whose it is in a trace of "
        "one process, and its arguments on which device it ran",
        _track_renamed,
    ),
)
#: Of several changes together.
WHOLE_STEPS = Valid(
    "last steps gone, with all that they launched",
    "a run that ended earlier leaves the same trace",
)
EVERY = (*VALID, WHOLE_STEPS)


def valid_kinds(before: str, after: str) -> list[str] | None:
    """The kinds of all changes; None without one, or where one is of no kind in `EVERY`."""
    both = Both(timed_of(before), timed_of(after), changes_of(before, after))
    if _whole_steps_gone(both):
        return [WHOLE_STEPS.kind]
    found = [next((v.kind for v in VALID if v.applies(c, both)), None) for c in both.changes]
    kinds = [kind for kind in found if kind is not None]
    return kinds if kinds and len(kinds) == len(found) else None


def _whole_steps_gone(both: Both) -> bool:
    """Whether ranges of steps are gone, every launch in them, and every op of these; no more."""
    gone = [c.before for c in both.changes if c.before is not None and c.after is None]
    ranges = [e for e in gone if e.kind == "range"]
    calls = [e for e in gone if e.kind == "call"]
    launched = {e.correlation for e in calls}
    left = [e for e in both.after if e.stage in STEPS]
    return (
        len(gone) == len(both.changes)
        and bool(ranges)
        and all(r.stage in STEPS for r in ranges)
        and not any(e.place == r.place and e.start > r.start for e in left for r in ranges)
        and all(any(r.start <= c.start < r.end for r in ranges) for c in calls)
        and {e.correlation for e in gone if e.kind == "op"} == launched
    )
