"""Load the model of `--model`: from the hub, a folder, or a preset with random weights."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trace_timing.errors import CaptureError, UsageError, did_you_mean
from trace_timing.recording.model import presets

_DTYPES = {
    "auto": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}
_CLASSES = ("AutoModelForImageTextToText", "AutoModelForVision2Seq", "AutoModelForCausalLM")


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """The options that choose a model and where it runs."""

    name: str
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    attn: str | None = None
    tensor_parallel: bool = False
    trust_remote_code: bool = False
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model and its processor."""

    model: Any
    processor: Any


def load(choice: ModelChoice, *, local_rank: int = 0) -> Loaded:
    """Build or load the chosen model.

    Raises:
        UsageError: an option has an unknown value; a preset's name is unknown.
        CaptureError: transformers could not load it, with its reason.
    """
    if choice.dtype not in _DTYPES:
        raise UsageError(
            f"unknown dtype {choice.dtype!r}",
            remedy=did_you_mean(choice.dtype, _DTYPES) + "choose one of " + ", ".join(_DTYPES),
        )
    _check_device(choice.device)
    if choice.name in presets.PRESETS:
        return _build(choice, local_rank)
    _refuse_misspelt(choice.name)
    return _load(choice, local_rank)


def _check_device(device: str) -> None:
    """Refuse an unknown or absent device before a model is loaded for it.

    Raises:
        UsageError: with the reason.
    """
    if device == "auto":
        return
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise UsageError(
            f"--device {device} is no device",
            why="torch does not know it",
            remedy="give auto, cpu, cuda or cuda:N",
        ) from error
    if wanted.type != "cuda":
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (wanted.index or 0) < count:
        return
    why = f"torch {torch.__version__} sees {count} GPU{'' if count == 1 else 's'}"
    built = torch.version.cuda or torch.version.hip
    raise UsageError(
        f"--device {device} is not on this machine",
        why=why if built else f"torch {torch.__version__} is built for the CPU alone",
        remedy="give another device, or none; trace-timing doctor looks at driver and torch",
    )


def _refuse_misspelt(name: str) -> None:
    """Refuse a misspelt preset and an absent folder, without asking the hub for them.

    Raises:
        UsageError: with the likely name.
    """
    near = difflib.get_close_matches(name.lower(), presets.PRESETS, n=1, cutoff=0.75)
    if name.startswith("random:") or (near and not Path(name).exists()):
        raise UsageError(
            f"unknown preset {name!r}",
            remedy=did_you_mean(name, presets.PRESETS)
            + "choose one of "
            + ", ".join(presets.PRESETS),
        )
    if name.startswith((".", "/", "~")) and not Path(name).exists():
        raise UsageError(
            f"there is no folder {name}",
            why="a path was given, so it is not looked for on the hub",
            remedy="check the path, or give a hub id as llava-hf/llava-1.5-7b-hf",
        )


def device_of(choice: ModelChoice, local_rank: int = 0) -> str:
    """The device to use: `auto` is this rank's GPU, if there is one."""
    if choice.device != "auto":
        return choice.device
    return f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"


def _build(choice: ModelChoice, local_rank: int) -> Loaded:
    """Build a preset on the chosen device."""
    device = device_of(choice, local_rank)
    default = torch.float32 if device == "cpu" else torch.bfloat16
    try:
        model = presets.build(
            choice.name,
            device=device,
            dtype=_DTYPES[choice.dtype] or default,
            seed=choice.seed,
            attention=choice.attn,
        )
    except (ValueError, ImportError) as error:
        if not choice.attn:
            raise
        raise UsageError(
            f"--attn {choice.attn} cannot be used",
            why=str(error).splitlines()[0],
            remedy="give sdpa or eager, or none",
        ) from error
    return Loaded(model=model, processor=presets.StandInProcessor(model.config))


def _load(choice: ModelChoice, local_rank: int) -> Loaded:
    import transformers

    options: dict[str, Any] = {"trust_remote_code": choice.trust_remote_code}
    try:
        processor = transformers.AutoProcessor.from_pretrained(choice.name, **options)
        model = _first_class(choice, options | _placement(choice, local_rank))
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # hub, disk, remote code: whatever it is, the user must see it
        raise CaptureError(
            f"{choice.name} cannot be loaded",
            why=f"{type(error).__name__}: {error}",
            remedy="check the name or folder, and that this transformers knows the model",
        ) from error
    return Loaded(model=model.eval(), processor=processor)


def _placement(choice: ModelChoice, local_rank: int) -> dict[str, Any]:
    """Options of from_pretrained for dtype, attention and devices."""
    options: dict[str, Any] = {_dtype_option(): _DTYPES[choice.dtype] or "auto"}
    if choice.attn:
        options["attn_implementation"] = choice.attn
    if choice.tensor_parallel:
        options["tp_plan"] = "auto"
    else:
        options["device_map"] = choice.device_map or device_of(choice, local_rank)
    return options


def _dtype_option() -> str:
    """The name of from_pretrained's dtype option, which transformers 4.56 shortened."""
    import transformers

    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= (4, 56) else "torch_dtype"


def _first_class(choice: ModelChoice, options: dict[str, Any]) -> Any:
    """Load by the first auto class that accepts the model's configuration."""
    import transformers

    refusals = []
    for name in _CLASSES:
        auto = getattr(transformers, name, None)
        if auto is None:
            continue
        try:
            return auto.from_pretrained(choice.name, **options)
        except ValueError as error:
            if "Unrecognized configuration class" not in str(error):
                raise
            refusals.append(name)
    raise UsageError(
        f"{choice.name} is no model that generates text",
        why="refused by " + ", ".join(refusals),
        remedy="give a vision-language or language model",
    )
