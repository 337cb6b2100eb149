"""The manifest of a capture directory: what is common to all its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from trace_timing.records.encoding import FORMAT_VERSION, check_format, decode

MANIFEST_NAME = "manifest.json"


TRACES_DIR = "traces"


ProfileMode = Literal["ranges", "full"]


@dataclass(frozen=True, kw_only=True)
class HardwareRates:
    """What the device reaches on large, simple work: the yardstick of distances to the limit."""

    #: Read and written bytes a second of a copy within the device.
    copy_bytes_per_s: float
    #: Multiplications and additions a second of a large matrix product.
    matmul_flops_per_s: float
    matmul_dtype: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`manifest.json`: what is common to all runs of a capture directory."""

    format_version: int = FORMAT_VERSION
    tool_version: str = ""
    #: torch, transformers, cuda, cupti, driver, device names, python, os.
    environment: Mapping[str, Any] = field(default_factory=dict)
    #: profile mode, order and number of controls, max_new_tokens, dtype, model, stage modules.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Parameters and bytes by stage, layers, heads: what the distance to the limit needs.
    model: Mapping[str, Any] = field(default_factory=dict)
    #: What the device reaches (HardwareRates), None where `doctor --rates` was not given.
    rates: Mapping[str, Any] | None = None


class OlderCalibration(msgspec.Struct, frozen=True):
    """Of the profiler's cost, which older manifests hold, the device's rates alone."""

    rates: Mapping[str, Any] | None = None


class OlderManifest(msgspec.Struct, frozen=True):
    """Of an older manifest, where its rates stand."""

    calibration: OlderCalibration | None = None


def decode_manifest(data: bytes | str, *, source: str) -> Manifest:
    """A manifest of this format version or an earlier one.

    An earlier one has the device's rates within its calibration.

    Raises:
        TraceError: of a newer format, in which fields may differ; or not the JSON of a manifest.
    """
    check_format(data, source=source)
    manifest = decode(data, Manifest, source=source)
    if manifest.rates is not None:
        return manifest
    older = decode(data, OlderManifest, source=source).calibration
    return replace(manifest, rates=older.rates) if older else manifest
