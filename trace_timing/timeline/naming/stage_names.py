"""From range names to stages: the default names, and others' names by pattern."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from trace_timing.errors import AttributionError, UsageError, did_you_mean
from trace_timing.schema.stages import BatchSize
from trace_timing.stages import GENERATE, NUMBERED_STAGES, STAGES, STEP_STAGES, Stage
from trace_timing.timeline.naming.patterns import MOST_NAME_CHARS, LimitedPattern, Pattern

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Generate = Literal["generate"]
#: Most digits of a number in a range name, so that the sum of two fits 63 bits.
_MOST_DIGITS = 18
#: For all range names of a trace; those of the recorded traces take milliseconds.
_MOST_SECONDS_A_TRACE = 10
#: Stages that a range can stand for; `other` and `unattributed` are left over.
RANGE_STAGES: tuple[Stage, ...] = tuple(s for s in STAGES if s not in ("other", "unattributed"))


#: Group of a pattern → field of BatchSize.
_GROUPS = {name.replace("batch_size", "batch"): name for name in BatchSize.__struct_fields__}


class NamedStage(msgspec.Struct, frozen=True):
    """A range name as read: the stage or generate, the step's number, the batch."""

    stage: Stage | Generate
    step: int | None = None
    batch: BatchSize | None = None


@dataclass(frozen=True)
class Caution:
    """Names that a map reads by their likeliest meaning, and why another is possible."""

    pattern: Pattern
    reason: str


@dataclass(frozen=True)
class StageMap:
    """Which range names stand for which stage. The first pattern that matches a whole name wins.

    Groups of digits in a pattern give numbers: `step` that of a step, `batch`, `context_requests`,
    `context_tokens`, `generation_requests` and `generation_tokens` those of `BatchSize`.
    """

    patterns: tuple[tuple[Pattern, Stage | Generate], ...]
    #: Of a built-in map; empty for a file's and for the default names.
    name: str = ""
    #: The names are a server's: each forward is a step, that of a prompt too.
    serving: bool = False
    cautions: tuple[Caution, ...] = ()
    #: Maps of which each trace takes the one that knows its names best (`--stages auto`).
    candidates: tuple[StageMap, ...] = ()

    def resolve(self, name: str) -> NamedStage | None:
        """The stage, step and batch of a range name; None where no pattern matches.

        Raises:
            UsageError: a group that should give a number matched something else, or a pattern
                takes too long.
            AttributionError: a number in the name does not fit.
        """
        if len(name) > MOST_NAME_CHARS:
            return None
        for pattern, stage in self.patterns:
            match = pattern.fullmatch(name)
            if match is None:
                continue
            if stage == GENERATE:
                return NamedStage("generate")
            numbers = _numbers(match)
            return NamedStage(stage, numbers.get("step"), _batch(numbers))
        return None

    def meanings(self, names: Sequence[str]) -> dict[str, NamedStage | None]:
        """`resolve` for each of a trace's distinct range names.

        Raises:
            UsageError: the patterns take too long on all of them together; or as `resolve`.
            AttributionError: as `resolve`.
        """
        begun = time.process_time()
        found = {}
        for number, name in enumerate(names, 1):
            found[name] = self.resolve(name)
            if time.process_time() - begun > _MOST_SECONDS_A_TRACE:
                raise UsageError(
                    "the stage map's patterns take too long",
                    why=f"{_MOST_SECONDS_A_TRACE} s for {number} of {len(names)} range names",
                    remedy="write them without repetition inside repetition, such as (a+)+",
                )
        return found

    def chosen_for(self, names: Iterable[str]) -> StageMap:
        """The map to read a trace with: this one, or of several candidates the best.

        The default names where the trace has one of them, so that captures are read with them. Else
        the candidate that knows most names of forwards; the default names if none does.

        Args:
            names: distinct names of the trace's ranges.
        """
        if not self.candidates:
            return self
        seen = list(names)
        if any(_is_ours(name) for name in seen):
            return DEFAULT_STAGES
        return recognised(seen, self.candidates) or DEFAULT_STAGES

    def settings(self) -> tuple[Any, ...]:
        """Everything in the map that a result depends on, as plain values for a cache key."""
        pairs = [(pattern.pattern, str(stage)) for pattern, stage in self.patterns]
        cautions = [(c.pattern.pattern, c.reason) for c in self.cautions]
        return pairs, self.name, self.serving, cautions, [c.settings() for c in self.candidates]


def recognised(names: Iterable[str], maps: Iterable[StageMap]) -> StageMap | None:
    """The map that knows most of the names as forwards, the first of equals; None if none does."""
    seen = list(names)
    best, most = None, 0
    for one in maps:
        known = [found for name in seen if (found := one.resolve(name))]
        count = sum(found.stage in STEP_STAGES for found in known)
        if count > most:
            best, most = one, count
    return best


def _numbers(match: re.Match[str]) -> dict[str, int]:
    """The numbers in a range name, by group of its pattern."""
    texts = {group: text for group, text in match.groupdict().items() if text is not None}
    for group, text in texts.items():
        if text.isdecimal() and len(text) > _MOST_DIGITS:
            raise AttributionError(
                f"the range name {match.string[:60]!r} has a number that does not fit 63 bits",
                why=f"its {group} has {len(text)} digits",
                remedy="record again; or map the name to no stage",
            )
        if not text.isdecimal():
            raise UsageError(
                f"the group {group} of the stage map's pattern {match.re.pattern} gives no number",
                why=f"in the range name {match.string!r} it matched {text!r}",
                remedy=rf"let it match digits alone, as (?P<{group}>\d+)",
            )
    return {group: int(text) for group, text in texts.items()}


def _batch(numbers: Mapping[str, int]) -> BatchSize | None:
    sizes = {_GROUPS[group]: number for group, number in numbers.items() if group != "step"}
    if not sizes:
        return None
    requests = [sizes[n] for n in ("context_requests", "generation_requests") if n in sizes]
    return BatchSize(**({"batch_size": sum(requests)} if requests else {}) | sizes)


def _default_pattern(stage: str) -> re.Pattern[str]:
    number = r"\[(?P<step>\d+)\]" if stage in NUMBERED_STAGES else ""
    return re.compile(re.escape(stage) + number)


#: Without `mixed`: `capture` records no such forward, so a range of that name is another program's.
DEFAULT_STAGES = StageMap(
    (
        (re.compile(GENERATE), "generate"),
        *((_default_pattern(s), s) for s in RANGE_STAGES if s != "mixed"),
    )
)


def _is_ours(name: str) -> bool:
    """Whether only captures have a range of this name; SGLang too has a `draft`."""
    named = DEFAULT_STAGES.resolve(name)
    return named is not None and named.stage != "draft"


def read_stage_map(path: str | Path) -> StageMap:
    """Read `stages.toml`: a table `[stages]` of stage = pattern or list of patterns.

    Patterns are Python regular expressions that match the whole range name, with groups as
    `StageMap` says. Stages that the file does not name keep their default names. `serving = true`
    above the table says that the names are a server's.

    Raises:
        UsageError: no such file, not TOML, an unknown stage or group, a pattern that is not one.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the stage map {path}", why=str(error)) from error
    return parse_stage_map(text, str(path))


def parse_stage_map(text: str, source: str, *, name: str = "") -> StageMap:
    """A stage map from the text of a file.

    Args:
        source: where it is from, for messages.
        name: of a built-in map.
    Raises:
        UsageError: as `read_stage_map`.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, or a number too long
        deep = isinstance(error, RecursionError)
        raise UsageError(
            f"cannot read the stage map {source}",
            why="arrays or tables in it are nested too deeply" if deep else str(error),
            remedy='write TOML with a table [stages] with lines like prefill = "…"',
        ) from error
    table = content.get("stages")
    if not isinstance(table, dict) or not table:
        raise UsageError(
            f"{source} names no stages",
            remedy='write a table [stages] with lines like prefill = "…"',
        )
    serving = content.get("serving", False)
    if not isinstance(serving, bool):
        raise UsageError(f"{source}: serving is {serving!r}", remedy="use true or false")
    own = bool(name)
    custom = [_compile(stage, given, source, own=own) for stage, given in table.items()]
    flat = [pair for pairs in custom for pair in pairs]
    named = {stage for _, stage in flat}
    kept = [pair for pair in DEFAULT_STAGES.patterns if pair[1] not in named]
    cautions = tuple(
        Caution(_pattern("cautions", one["pattern"], source, own=own), one["reason"])
        for one in content.get("cautions", ())
    )
    return StageMap((*flat, *kept), name=name, serving=serving, cautions=cautions)


def _compile(
    stage: str, given: object, source: str, *, own: bool
) -> list[tuple[Pattern, Stage | Generate]]:
    """The compiled patterns of one stage."""
    known: dict[str, Stage | Generate] = {s: s for s in RANGE_STAGES} | {"generate": "generate"}
    if stage not in known:
        raise UsageError(
            f"{source}: {stage!r} is not a stage",
            remedy=f"{did_you_mean(stage, known)}use one of {', '.join(known)}",
        )
    texts: Iterable[object] = given if isinstance(given, list) else [given]
    return [(_pattern(stage, text, source, own=own), known[stage]) for text in texts]


def _pattern(stage: str, text: object, source: str, *, own: bool) -> Pattern:
    try:
        pattern: Pattern = re.compile(str(text)) if own else LimitedPattern(str(text))
        groups = pattern.groupindex.keys()
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"{source}: the pattern of {stage} is no regular expression", why=str(error)
        ) from error
    unknown = groups - {"step", *_GROUPS}
    if unknown:
        raise UsageError(
            f"{source}: the pattern of {stage} has a group {min(unknown)!r} that means nothing",
            remedy=f"name it one of step, {', '.join(_GROUPS)}, or use (?:…)",
        )
    return pattern
