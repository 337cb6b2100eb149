"""Make the manifest of a capture; check that a resumed capture is the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from trace_timing.api.capture.options import CaptureOptions
from trace_timing.api.capture.precision import fraction
from trace_timing.errors import UsageError
from trace_timing.recording import environment
from trace_timing.recording.model.description import describe_model
from trace_timing.recording.runs.ranks import Shard
from trace_timing.recording.storage.directory import CaptureDirectory
from trace_timing.records.encoding import TOOL_VERSION
from trace_timing.records.manifest import HardwareRates, Manifest


def manifest_of(
    model: Any, stages: Any, options: CaptureOptions, shard: Shard, backend: str
) -> Manifest:
    """The manifest of a capture: what all its runs have in common.

    Raises:
        UsageError: the file of rates cannot be read.
    """
    settings = {
        **options.settings,
        "profile": options.profile,
        "profiler_backend": backend,
        "order": options.order,
        "control": options.control,
        "record_every": options.record_every,
        "record_steps": options.record_steps,
        "precision": fraction(options.precision),
        "most_controls": options.most_controls,
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
        rates=_rates(options.rates),
    )


def _rates(given: Path | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The rates, read from their file if a path is given."""
    if given is None:
        return None
    name = "given" if isinstance(given, Mapping) else given.name
    try:
        rates = given if isinstance(given, Mapping) else msgspec.json.decode(given.read_bytes())
        return asdict(msgspec.convert(rates, HardwareRates))
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"the device's rates cannot be read ({name})",
            why=getattr(error, "strerror", None) or str(error),
            remedy="write them with trace-timing doctor --rates -o FILE",
        ) from error


#: Settings that may differ when a capture is resumed.
_FREE_SETTINGS = frozenset({"warm_up", "sessions", "detach", "world_size", "keep", "repeats"})


def begun(place: CaptureDirectory, manifest: Manifest, shard: Shard) -> Manifest:
    """Write the manifest, or continue with an existing one if it is of this capture."""
    before = place.read_manifest()
    if before is not None:
        _check_same(before, manifest)
        if shard.rank == 0:
            _check_same_machine(before.environment, manifest.environment)
        return before
    if shard.rank == 0:
        place.write_manifest(manifest)
    return manifest


def _check_same_machine(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse another device or other versions: one manifest states them for all rows."""
    begun_on, is_on = _machine(before), _machine(now)
    for name, then in begun_on.items():
        if then != is_on[name]:
            raise UsageError(
                f"this capture was begun with another {name}",
                why=f"{then or 'none'} then, {is_on[name] or 'none'} now",
                remedy="resume on the machine it was begun on, or give another directory",
            )


def _machine(environment: Mapping[str, Any]) -> dict[str, str]:
    packages = environment.get("packages") or {}
    names = {device["name"] for device in environment.get("devices") or ()}
    versions = {name: packages.get(name) or "" for name in ("torch", "transformers")}
    return {"device": ", ".join(sorted(names)), **versions}


def _check_same(before: Manifest, now: Manifest) -> None:
    """Refuse to resume with other settings."""
    names = (set(before.settings) | set(now.settings)) - _FREE_SETTINGS
    differing = sorted(n for n in names if before.settings.get(n) != now.settings.get(n))
    if differing:
        name = differing[0]
        raise UsageError(
            f"this capture was begun with another {name}",
            why=f"{before.settings.get(name)!r} then, {now.settings.get(name)!r} now",
            remedy="resume with the settings it was begun with, or give another directory",
        )
