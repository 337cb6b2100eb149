"""The manifest of a capture, and whether a resumption is of the same capture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trace_timing.api.capture_options import CaptureOptions
from trace_timing.errors import UsageError
from trace_timing.recording import environment
from trace_timing.recording.anatomy import describe_model
from trace_timing.recording.files import CaptureDirectory
from trace_timing.recording.shards import Shard
from trace_timing.records import TOOL_VERSION, Manifest, decode


def manifest_of(
    model: Any, stages: Any, options: CaptureOptions, shard: Shard, backend: str
) -> Manifest:
    """What is common to all runs of a capture.

    Raises:
        UsageError: the calibration cannot be read.
    """
    settings = {
        **options.settings,
        "profile": options.profile,
        "profiler_backend": backend,
        "control": options.control,
        "cuda_cache": options.cuda_cache,
        "keep": options.keep,
        "detail": options.detail,
        "warm_up": options.warm_up,
        "world_size": shard.world,
        "stage_modules": {name: list(paths) for name, paths in stages.paths().items()},
        "stages_source": stages.source,
    }
    return Manifest(
        tool_version=TOOL_VERSION,
        environment=environment.describe(),
        settings=settings,
        model=describe_model(model, stages),
        calibration=_calibration(options.calibration),
    )


def _calibration(given: Path | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if given is None or isinstance(given, Mapping):
        return given
    try:
        content = given.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the calibration {given.name} cannot be read",
            why=error.strerror or str(error),
            remedy="write it with trace-timing doctor --calibrate -o FILE",
        ) from error
    return decode(content, dict[str, Any], source=given.name)


#: What may differ between a capture and its resumption.
_FREE_SETTINGS = frozenset({"warm_up", "sessions", "world_size", "keep", "repeats"})


def begun(place: CaptureDirectory, manifest: Manifest, shard: Shard) -> Manifest:
    """Write the manifest, or go on with the one there if it speaks of this capture."""
    before = place.read_manifest()
    if before is not None:
        _check_same(before, manifest)
        return before
    if shard.rank == 0:
        place.write_manifest(manifest)
    return manifest


def _check_same(before: Manifest, now: Manifest) -> None:
    names = (set(before.settings) | set(now.settings)) - _FREE_SETTINGS
    differing = sorted(n for n in names if before.settings.get(n) != now.settings.get(n))
    if differing:
        name = differing[0]
        raise UsageError(
            f"this capture was begun with another {name}",
            why=f"{before.settings.get(name)!r} then, {now.settings.get(name)!r} now",
            remedy="resume with the settings it was begun with, or give another directory",
        )
