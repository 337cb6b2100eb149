"""Read samples from a JSONL file or a data set, and make them inputs of generate()."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec

from trace_timing.errors import CaptureError, UsageError, did_you_mean

HUGGING_FACE = "hf:"
_PROMPT_COLUMNS = ("prompt", "question", "query", "text", "caption", "instruction")
_IMAGE_COLUMNS = ("image", "images")
_ID_COLUMNS = ("id", "sample_id", "question_id", "uid")
DEFAULT_PROMPT = "Describe this image."


#: Other names of a line's keys, as in other formats.
_OTHER_NAMES = {
    "image_path": "image",
    "image_file": "image",
    "image_paths": "images",
    "question": "prompt",
    "text": "prompt",
    "max_tokens": "max_new_tokens",
    "conversation": "messages",
    "conversations": "messages",
    "sample_id": "id",
    "meta": "metadata",
}


class _Line(msgspec.Struct):
    id: str | int | None = None
    image: str | None = None
    images: list[str] | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    max_new_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    metadata: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One input before it is processed; images are paths, or PIL images from a data set."""

    id: str
    images: tuple[Any, ...] = ()
    prompt: str | None = None
    messages: tuple[Mapping[str, Any], ...] | None = None
    max_new_tokens: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Keyword arguments of generate(), and metadata known before it runs."""

    inputs: Mapping[str, Any]
    metadata: Mapping[str, Any]


def read_samples(source: str, *, limit: int | None = None) -> list[Sample]:
    """The samples of `samples.jsonl` or `hf:DATASET:SPLIT`, at most `limit`, ids unique.

    Image paths are relative to the file that names them.

    Raises:
        UsageError: no such file, a line that is not a sample, or two samples with one id.
    """
    rows = _from_dataset(source) if source.startswith(HUGGING_FACE) else _from_file(Path(source))
    samples = list(islice(rows, limit))
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise UsageError(
                f"two samples have the id {sample.id!r}",
                why=f"both are in {source}",
                remedy="give each sample its own id",
            )
        seen.add(sample.id)
    if not samples:
        raise UsageError(f"{source} holds no sample", remedy="give at least one line")
    return samples


def shard(samples: Sequence[Sample], rank: int, world: int) -> list[Sample]:
    """The samples of one rank: every `world`-th, so that ranks end at about the same time."""
    return list(samples[rank::world])


def prepare(sample: Sample, processor: Any, model: Any) -> Prepared:
    """Apply the model's processor and chat template to a sample; tensors on the model's device.

    Raises:
        CaptureError: an image is missing or unreadable; only this sample fails.
    """
    images = [load_image(image) for image in sample.images]
    encoded = dict(_encode(sample, images, processor))
    inputs = {name: _placed(value, model) for name, value in encoded.items()}
    return Prepared(
        inputs=inputs,
        metadata=count_tokens(inputs, model.config)
        | {"n_images": len(images), "image_sizes": [list(image.size) for image in images]},
    )


def count_tokens(inputs: Mapping[str, Any], config: Any) -> dict[str, int]:
    """`batch`, and vision and text tokens of the first row, if the inputs have ids."""
    ids = inputs.get("input_ids")
    if ids is None:
        return {}
    image_id = image_token_id(config)
    vision = 0 if image_id is None else int((ids[0] == image_id).sum())
    return {
        "batch": int(ids.shape[0]),
        "n_vision_tokens": vision,
        "n_text_tokens": int(ids.shape[1]) - vision,
    }


def image_token_id(config: Any) -> int | None:
    """The token id of an image's patches in the prompt, by the names that families give it."""
    for name in ("image_token_id", "image_token_index", "image_patch_id"):
        if isinstance(value := getattr(config, name, None), int):
            return value
    return None


def load_image(image: Any) -> Any:
    """An RGB image; palettes, alpha (on white), 16 bits and CMYK are converted.

    Raises:
        CaptureError: the file is missing or no image.
    """
    from PIL import Image, ImageOps

    if isinstance(image, str | Path):
        try:
            with Image.open(image) as opened:
                opened.load()
                image = opened
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise CaptureError(
                f"image {Path(image).name} cannot be read",
                why=_why_no_image(Path(image), error),
                remedy="mend the sample; the others go on",
            ) from error
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return _from_wide(image)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _why_no_image(path: Path, error: Exception) -> str:
    if {"http:", "https:"} & set(path.parts):
        return "it is a URL, which is not fetched: save the image beside the file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if not path.stat().st_size:
        return "the file is empty"
    if type(error).__name__ == "UnidentifiedImageError":
        return "its content is of no image format that Pillow knows"
    return str(error)


def _from_wide(image: Any) -> Any:
    # PIL clips 16-bit and float greys to 255 on conversion, so scale by the image's own range
    # first.
    low, high = image.convert("F").getextrema()
    span = (high - low) or 1.0
    return image.convert("F").point(lambda v: (v - low) * (255.0 / span)).convert("RGB")


def _encode(sample: Sample, images: list[Any], processor: Any) -> Mapping[str, Any]:
    messages = _messages(sample, images)
    if getattr(processor, "chat_template", True) is None:
        return _encode_plain(sample, images, processor)
    encoded: Mapping[str, Any] = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    return encoded


def _encode_plain(sample: Sample, images: list[Any], processor: Any) -> Mapping[str, Any]:
    # A base model without a chat template: its image token, if it has one, then the prompt.
    token = getattr(processor, "image_token", "") if images else ""
    text = str(token) * len(images) + (sample.prompt or DEFAULT_PROMPT)
    arguments = {"text": text, "return_tensors": "pt"} | ({"images": images} if images else {})
    encoded: Mapping[str, Any] = processor(**arguments)
    return encoded


def _messages(sample: Sample, images: list[Any]) -> list[dict[str, Any]]:
    """The sample as chat messages; images fill the messages' placeholders, or else come first."""
    if sample.messages is None:
        text = {"type": "text", "text": sample.prompt or DEFAULT_PROMPT}
        parts = [{"type": "image", "image": image} for image in images]
        return [{"role": "user", "content": [*parts, text]}]
    waiting = iter(images)
    messages = [_filled(message, waiting) for message in sample.messages]
    rest = [{"type": "image", "image": image} for image in waiting]
    if rest:
        first = next(m for m in messages if m["role"] == "user")
        first["content"] = [*rest, *first["content"]]
    return messages


def _filled(message: Mapping[str, Any], waiting: Iterator[Any]) -> dict[str, Any]:
    """A message with its image placeholders filled from the waiting images."""
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    filled = [
        {"type": "image", "image": next(waiting)}
        if part["type"] == "image" and "image" not in part
        else dict(part)
        for part in content
    ]
    return {**message, "content": filled}


def _placed(value: Any, model: Any) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    placed = value.to(model.device)
    return placed.to(model.dtype) if placed.is_floating_point() else placed


def _from_file(path: Path) -> Iterator[Sample]:
    try:
        # Windows programs may begin UTF-8 with a byte order mark.
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}",
            why=str(error.strerror),
            remedy="give --inputs an existing samples.jsonl, or hf:DATASET:SPLIT",
        ) from error
    # Not str.splitlines(), which also splits at U+2028 and others that JSON strings may hold.
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield _sample(line, where=f"{path.name}, line {number}", folder=path.parent)


def _sample(line: bytes, *, where: str, folder: Path) -> Sample:
    row = _read_line(line, where)
    names = ([row.image] if row.image else []) + (row.images or [])
    return Sample(
        id=str(row.id) if row.id is not None else where.rsplit(" ", 1)[-1],
        images=tuple(str(folder / name) for name in names),
        prompt=row.prompt,
        messages=tuple(row.messages) if row.messages is not None else None,
        max_new_tokens=row.max_new_tokens,
        metadata=row.metadata,
    )


def _read_line(line: bytes, where: str) -> _Line:
    """Decode and check one line of a samples file."""
    try:
        given = msgspec.json.decode(line.decode("utf-8"), type=dict[str, Any])
        _refuse_unknown(given, where)
        return msgspec.convert(given, type=_Line)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where} is not UTF-8",
            why=f"byte {error.start + 1} of the line is 0x{line[error.start]:02x}",
            remedy="save the file as UTF-8, e.g. iconv -f latin1 -t utf-8",
        ) from error
    except (msgspec.MsgspecError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        raise UsageError(
            f"{where} is not a sample",
            why="lists or objects in it are nested too deeply" if deep else str(error),
            remedy="one JSON object a line: id, image or images, prompt or messages",
        ) from error


def _refuse_unknown(given: Mapping[str, Any], where: str) -> None:
    """Refuse unknown keys: ignoring a misspelt `image` would time another sample."""
    unknown = [key for key in given if key not in _Line.__struct_fields__]
    if not unknown:
        return
    first = unknown[0]
    other = _OTHER_NAMES.get(first.lower())
    meant = f"did you mean {other}? " if other else did_you_mean(first, _Line.__struct_fields__)
    raise UsageError(
        f"{where}: unknown key{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}",
        why=f"a sample has {', '.join(_Line.__struct_fields__)}",
        remedy=f"{meant}what only describes the sample goes under metadata",
    )


def _from_dataset(source: str) -> Iterator[Sample]:
    name, _, split = source.removeprefix(HUGGING_FACE).rpartition(":")
    if not name:
        raise UsageError(f"{source} names no split", remedy="write hf:DATASET:SPLIT")
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            "the package datasets is not installed",
            remedy="pip install datasets, or give --inputs a samples.jsonl",
        ) from error
    try:
        rows = datasets.load_dataset(name, split=split)
    except Exception as error:  # whatever the hub, the disk or the builder may raise
        raise UsageError(
            f"the data set {name} cannot be loaded", why=str(error), remedy="check name and split"
        ) from error
    for number, row in enumerate(rows):
        yield from_row(row, number)


def from_row(row: Mapping[str, Any], number: int) -> Sample:
    """A sample from a data set's row, by the usual column names of each field."""
    images = _first(row, _IMAGE_COLUMNS)
    listed = images if isinstance(images, list | tuple) else [images]
    prompt = _first(row, _PROMPT_COLUMNS)
    plain = {k: v for k, v in row.items() if isinstance(v, str | int | float | bool)}
    known = (*_PROMPT_COLUMNS, *_ID_COLUMNS, "max_new_tokens")
    return Sample(
        id=str(_first(row, _ID_COLUMNS, default=number)),
        images=tuple(image for image in listed if image is not None),
        prompt=None if prompt is None else str(prompt),
        max_new_tokens=row.get("max_new_tokens"),
        metadata={k: v for k, v in plain.items() if k not in known},
    )


def seed_everything(seed: int) -> None:
    """Seed torch's random generators of the host and every device."""
    import torch

    torch.manual_seed(seed)


def _first(row: Mapping[str, Any], names: Sequence[str], default: Any = None) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), default)
