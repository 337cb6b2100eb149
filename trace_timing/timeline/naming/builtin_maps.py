"""The built-in stage maps: range names of serving frameworks, a TOML file each.

Each file states, for every name, the source file and versions of the framework that have it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from trace_timing.errors import UsageError, did_you_mean
from trace_timing.timeline.naming.stage_names import StageMap, parse_stage_map, read_stage_map

#: In the order in which `auto` prefers them where two know equally many names.
BUILT_IN = ("vllm", "sglang", "trtllm", "transformers")
AUTO = "auto"


@cache
def built_in(name: str) -> StageMap:
    """The built-in map of this name, one of BUILT_IN."""
    file = files("trace_timing.timeline.naming") / "maps" / f"{name}.toml"
    return parse_stage_map(file.read_text(encoding="utf-8"), f"built-in {name}", name=name)


@cache
def auto() -> StageMap:
    """The map that picks one for each trace by the names of its ranges."""
    return StageMap((), name=AUTO, candidates=tuple(map(built_in, BUILT_IN)))


def stage_map_of(text: str) -> StageMap:
    """The map that `--stages` means: a built-in one's name, else a file.

    A built-in name never means a file, so that a command does the same in every folder; for a file
    called `vllm` write `./vllm`.

    Raises:
        UsageError: neither, or the file is no stage map.
    """
    if text == AUTO:
        return auto()
    if text in BUILT_IN:
        return built_in(text)
    try:
        return read_stage_map(text)
    except UsageError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        names = (AUTO, *BUILT_IN)
        meant = did_you_mean(text, names)
        raise UsageError(
            f"no stage map {text}",
            why="it is neither a file nor a built-in map",
            remedy=f"{meant}name a file, or one of {', '.join(names)}",
        ) from error
