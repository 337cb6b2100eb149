"""Samples are read as written, odd images become RGB, and a bad one fails alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from PIL import Image

from trace_timing.errors import CaptureError, UsageError
from trace_timing.recording.model.loading import Loaded, ModelChoice, load
from trace_timing.recording.samples import (
    Sample,
    count_tokens,
    from_row,
    load_image,
    prepare,
    read_samples,
)

pytestmark = pytest.mark.capture


@pytest.fixture(scope="module")
def tiny() -> Loaded:
    return load(ModelChoice(name="tiny-llava", device="cpu"))


def write(path: Path, *rows: dict) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return str(path)


def test_lines_become_samples(tmp_path: Path) -> None:
    source = write(
        tmp_path / "s.jsonl",
        {"id": "a", "image": "x.png", "prompt": "why", "metadata": {"tier": 1}},
        {"images": ["y.png", "z.png"], "max_new_tokens": 3},
    )
    first, second = read_samples(source)
    assert (first.id, first.prompt, first.metadata) == ("a", "why", {"tier": 1})
    assert first.images == (str(tmp_path / "x.png"),)
    assert (second.id, len(second.images), second.max_new_tokens) == ("2", 2, 3)
    assert len(read_samples(source, limit=1)) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a"}, {"id": "a"}], "two samples have the id 'a'"),
        ([{"id": "a", "max_new_tokens": "many"}], "line 1 is not a sample"),
        ([], "holds no sample"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, rows: list[dict], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_samples(write(tmp_path / "s.jsonl", *rows))


def test_a_byte_order_mark_and_line_separators_in_texts_are_no_matter(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    prompt = "one\u2028two\x85three\u2029four"
    lines = [json.dumps({"id": n, "prompt": prompt}, ensure_ascii=False) for n in range(2)]
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert [(s.id, s.prompt) for s in read_samples(str(file))] == [("0", prompt), ("1", prompt)]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("image_path", "did you mean image?"),
        ("Image", "did you mean image?"),
        ("max_tokens", "did you mean max_new_tokens?"),
        ("promt", "did you mean prompt?"),
        ("question", "did you mean prompt?"),
        ("tier", "under metadata"),
    ],
)
def test_a_key_that_would_be_dropped_is_refused(tmp_path: Path, key: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"unknown key {key}") as caught:
        read_samples(write(tmp_path / "s.jsonl", {"id": "a", key: "x"}))
    assert meant in caught.value.remedy


def test_why_an_image_cannot_be_read_is_said(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 50).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("text")
    reasons = {
        "cut.png": "truncated",
        "empty.png": "the file is empty",
        "text.png": "no image format",
        "none.png": "No such file",
        ".": "Is a directory",
        "https://example.org/x.png": "a URL, which is not fetched",
    }
    for name, reason in reasons.items():
        with pytest.raises(CaptureError) as caught:
            load_image(str(tmp_path / name))
        assert reason in caught.value.why
        assert str(tmp_path) not in str(caught.value)


def test_a_missing_file_and_a_missing_split_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_samples(str(tmp_path / "none.jsonl"))
    with pytest.raises(UsageError, match="names no split"):
        read_samples("hf:name")


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16", "HSV"]
)
@pytest.mark.parametrize("size", [(1, 1), (3, 200)])
def test_every_mode_and_size_becomes_rgb(mode: str, size: tuple[int, int]) -> None:
    image = load_image(Image.new(mode, size))
    assert (image.mode, image.size) == ("RGB", size)


def test_transparency_is_laid_on_white() -> None:
    assert load_image(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_wide_greys_keep_their_contrast() -> None:
    image = Image.new("I;16", (2, 1))
    image.putpixel((1, 0), 65535)
    found = load_image(image)
    assert [found.getpixel((x, 0))[0] for x in (0, 1)] == [0, 255]


def test_images_take_the_places_that_messages_keep_for_them(tiny: Loaded) -> None:
    content = [{"type": "text", "text": "before"}, {"type": "image"}]
    sample = Sample(
        id="a",
        images=(Image.new("RGB", (9, 9)), Image.new("L", (5, 5))),
        messages=({"role": "user", "content": content},),
    )
    prepared = prepare(sample, tiny.processor, tiny.model)
    assert prepared.inputs["pixel_values"].shape[0] == 2
    assert prepared.metadata["n_images"] == 2
    assert prepared.metadata["n_vision_tokens"] == 2 * 16
    ids = prepared.inputs["input_ids"][0].tolist()
    # The image without a place goes in front of the words, the other after them.
    assert ids[1] == 2
    assert ids[-1] == 2
    assert ids[17] != 2


def test_tokens_are_counted_by_the_ids_that_stand_for_images(tiny: Loaded) -> None:
    ids = torch.tensor([[1, 2, 2, 7], [1, 2, 2, 8]])
    found = count_tokens({"input_ids": ids}, tiny.model.config)
    assert found == {"batch": 2, "n_vision_tokens": 2, "n_text_tokens": 2}
    assert count_tokens({}, tiny.model.config) == {}


def test_a_data_set_on_disk_gives_samples(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"question_id": ["q1", "q2"], "question": ["why", "how"], "level": [1, 2]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "train.parquet")
    samples = read_samples(f"hf:{tmp_path}:train", limit=1)
    assert [(s.id, s.prompt, s.metadata) for s in samples] == [("q1", "why", {"level": 1})]


def test_a_row_with_several_images_keeps_them_all() -> None:
    image = Image.new("L", (2, 2))
    assert from_row({"images": [image, image]}, 5).images == (image, image)
    assert from_row({"image": None, "text": "x"}, 5) == Sample(id="5", prompt="x")
