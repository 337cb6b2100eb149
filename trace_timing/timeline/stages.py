"""Range names → stages: the default names, and other people's names by pattern."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trace_timing.errors import UsageError
from trace_timing.records import GENERATE, NUMBERED_STAGES, STAGES, Stage
from trace_timing.timeline.layout import StageKey

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Generate = Literal["generate"]
#: Stages that a range can stand for; the other two are what is left over.
RANGE_STAGES: tuple[Stage, ...] = tuple(s for s in STAGES if s not in ("other", "unattributed"))


@dataclass(frozen=True)
class StageMap:
    """Which range names stand for which stage. The first pattern that matches a whole name wins.

    A group named `step` gives the number of a decode or sampling range.
    """

    patterns: tuple[tuple[re.Pattern[str], Stage | Generate], ...]

    def resolve(self, name: str) -> StageKey | Generate | None:
        """The stage of a range name, `"generate"`, or None for a range of somebody else's."""
        for pattern, stage in self.patterns:
            match = pattern.fullmatch(name)
            if match is None:
                continue
            if stage == GENERATE:
                return "generate"
            step = match.groupdict().get("step")
            return StageKey(stage, None if step is None else int(step))  # type: ignore[arg-type]
        return None


def _default_pattern(stage: str) -> re.Pattern[str]:
    number = r"\[(?P<step>\d+)\]" if stage in NUMBERED_STAGES else ""
    return re.compile(re.escape(stage) + number)


DEFAULT_STAGES = StageMap(
    ((re.compile(GENERATE), "generate"), *((_default_pattern(s), s) for s in RANGE_STAGES))
)


def read_stage_map(path: str | Path) -> StageMap:
    """Read `stages.toml`: a table `[stages]` of stage = pattern or list of patterns.

    Patterns are Python regular expressions that match the whole range name; a group `(?P<step>…)`
    of digits numbers decode steps. Stages that the file does not name keep their default names.

    Raises:
        UsageError: no such file, not TOML, an unknown stage, a pattern that is not one.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("stages")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the stage map {path}", why=str(error)) from error
    if not isinstance(table, dict) or not table:
        raise UsageError(
            f"{path} names no stages", remedy='write a table [stages] with lines like prefill = "…"'
        )
    custom = [_compile(stage, given, path) for stage, given in table.items()]
    flat = [pair for pairs in custom for pair in pairs]
    named = {stage for _, stage in flat}
    kept = [pair for pair in DEFAULT_STAGES.patterns if pair[1] not in named]
    return StageMap((*flat, *kept))


def _compile(
    stage: str, given: object, path: str | Path
) -> list[tuple[re.Pattern[str], Stage | Generate]]:
    known: dict[str, Stage | Generate] = {s: s for s in RANGE_STAGES} | {"generate": "generate"}
    if stage not in known:
        raise UsageError(
            f"{path}: {stage!r} is not a stage", remedy=f"use one of {', '.join(known)}"
        )
    texts: Iterable[object] = given if isinstance(given, list) else [given]
    try:
        return [(re.compile(str(text)), known[stage]) for text in texts]
    except re.error as error:
        raise UsageError(f"{path}: the pattern of {stage} is not one", why=str(error)) from error
