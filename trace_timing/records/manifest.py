"""The manifest of a capture directory, with what all its runs have in common."""

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
    """The device's measured rates on large, simple work, for the distance to the limit."""

    #: Read and written bytes a second of a copy within the device.
    copy_bytes_per_s: float
    #: Multiplications and additions a second of a large matrix product.
    matmul_flops_per_s: float
    matmul_dtype: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`manifest.json`: format, environment, settings and model of all runs of a capture."""

    format_version: int = FORMAT_VERSION
    tool_version: str = ""
    #: torch, transformers, cuda, cupti, driver, device names, python, os.
    environment: Mapping[str, Any] = field(default_factory=dict)
    #: profile mode, order and number of controls, max_new_tokens, dtype, model, stage modules.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Parameters and bytes by stage, layers, heads: for the distance to the limit.
    model: Mapping[str, Any] = field(default_factory=dict)
    #: HardwareRates of the device; None where the capture was given no rates.
    rates: Mapping[str, Any] | None = None


class OlderCalibration(msgspec.Struct, frozen=True):
    """The device's rates inside the calibration of older manifests; the rest is ignored."""

    rates: Mapping[str, Any] | None = None


class OlderManifest(msgspec.Struct, frozen=True):
    """The calibration of an older manifest."""

    calibration: OlderCalibration | None = None


def decode_manifest(data: bytes | str, *, source: str) -> Manifest:
    """A manifest of this format version or an earlier one.

    In an earlier one the device's rates are inside its calibration.

    Raises:
        TraceError: the format is newer, so that fields may differ; or it is no manifest.
    """
    check_format(data, source=source)
    manifest = decode(data, Manifest, source=source)
    if manifest.rates is not None:
        return manifest
    older = decode(data, OlderManifest, source=source).calibration
    return replace(manifest, rates=older.rates) if older else manifest
