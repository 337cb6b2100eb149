"""Command lines that reproduce a report: the capture, from its settings, and the analysis."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

_JOBS = "--jobs"
#: Setting of a capture → option of `trace-timing capture`.
_OPTIONS = {
    "model": "--model",
    "profile": "--profile",
    "detail": "--detail",
    "order": "--order",
    "control": "--control",
    "record_every": "--record-every",
    "precision": "--precision",
    "cuda_cache": "--cuda-cache",
    "max_new_tokens": "--max-new-tokens",
    "dtype": "--dtype",
    "seed": "--seed",
    "repeats": "--repeats",
    "keep": "--keep",
}


def capture_command(settings: Mapping[str, Any]) -> str | None:
    """`trace-timing capture` with a capture's settings; None if a user's own loop recorded it.

    The settings do not name the file of samples: `samples.jsonl` stands for it.
    """
    if not settings.get("model"):
        return None
    options = [
        word
        for name, option in _OPTIONS.items()
        if settings.get(name) is not None
        for word in (option, str(settings[name]))
    ]
    words = ["trace-timing", "capture", *options, "--inputs", "samples.jsonl", "-o", "traces/"]
    return shlex.join(words)


def analyze_command(arguments: Sequence[str]) -> str:
    """`trace-timing analyze` with these arguments, absolute paths reduced to their last name.

    `--jobs` is left out: a report has the same bytes for any number of processes.
    """
    words = [
        _without_folders(word)
        for before, word in zip(["", *arguments], arguments, strict=False)
        if before != _JOBS and word != _JOBS and not word.startswith(f"{_JOBS}=")
    ]
    return shlex.join(["trace-timing", "analyze", *words])


def _without_folders(word: str) -> str:
    path = PurePath(word)
    return path.name if path.is_absolute() else word
