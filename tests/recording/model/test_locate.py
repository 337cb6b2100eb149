"""Stages are found by table, by search, or as a file says; else the candidates are listed."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn  # noqa: E402

from tests.recording.models import VISION_MODELS, Tiny, llama, llava, qwen3_vl  # noqa: E402
from tests.recording.models import blip_2 as build_blip_2  # noqa: E402
from tests.recording.molmo import molmo, molmo_native  # noqa: E402
from tests.recording.recorder import Recorder, steps  # noqa: E402
from trace_timing.errors import CaptureError  # noqa: E402
from trace_timing.recording.hooks.attach import attach  # noqa: E402
from trace_timing.recording.model import locate  # noqa: E402
from trace_timing.recording.model.locate import read_overrides, resolve  # noqa: E402

pytestmark = pytest.mark.capture


@pytest.mark.parametrize("build", VISION_MODELS, ids=lambda build: build.__name__)
def test_the_families_are_found_by_the_table(build: object) -> None:
    stages = resolve(build().model)
    assert stages.source == "table"
    assert stages.vision_encoder
    assert stages.projector
    assert stages.language_model
    assert "generate" in stages.generate_entries


@pytest.mark.parametrize("build", VISION_MODELS, ids=lambda build: build.__name__)
def test_the_search_finds_encoder_and_language_model_without_the_table(
    build: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build().model
    by_table = resolve(model)
    monkeypatch.setattr(locate, "FAMILIES", {})
    found = resolve(model)
    assert found.source == "search"
    assert found.vision_encoder == by_table.vision_encoder
    assert found.projector
    assert set(found.projector) <= set(by_table.projector)


def test_molmo_s_plain_method_and_list_of_projectors_are_paths() -> None:
    stages = resolve(molmo().model)
    backbone = "model.vision_backbone"
    assert stages.vision == (backbone,)
    assert stages.vision_encoder == (f"{backbone}.encode_image", f"{backbone}.image_vit")
    assert stages.projector == (
        f"{backbone}.image_pooling_2d",
        f"{backbone}.image_projector.0",
        f"{backbone}.image_projector.1",
    )
    assert stages.generate_entries == ("generate", "generate_from_batch")
    assert resolve(molmo_native().model).vision == ("vision_backbone",)


def test_qwen_s_last_merger_comes_after_the_deep_ones() -> None:
    stages = resolve(qwen3_vl().model)
    names = [path.partition("visual.")[2] for path in stages.projector]
    assert names == ["deepstack_merger_list.0", "merger"]


def test_a_child_that_generates_is_an_entry() -> None:
    assert resolve(build_blip_2().model).generate_entries == ("generate", "language_model.generate")


@pytest.mark.slow
def test_the_wrappers_of_torch_are_looked_through() -> None:
    model = llava().model
    parallel = nn.Module()
    parallel.module = model
    assert resolve(torch.compile(parallel)).model is model


def test_a_file_replaces_what_would_be_found(tmp_path: Path) -> None:
    model = llava().model
    found = resolve(model)
    path = tmp_path / "model.toml"
    path.write_text(f'[stages]\nvision_encoder = ["{found.vision_encoder[0]}.*"]\nprojector = []\n')
    stages = resolve(model, read_overrides(path))
    assert stages.source == "file"
    assert stages.projector == ()
    assert stages.vision_encoder
    assert all(p.startswith(found.vision_encoder[0] + ".") for p in stages.vision_encoder)
    assert stages.language_model == found.language_model


class Odd(nn.Module):
    """A model of names that no table and no search knows."""

    class config:
        model_type = "odd"
        vision_config = object()

    def __init__(self) -> None:
        super().__init__()
        self.retina, self.cortex = nn.Linear(4, 4), nn.Linear(4, 4)

    def generate(self, image: torch.Tensor, tokens: int) -> torch.Tensor:
        seen = self.retina(image)
        for _ in range(tokens):
            seen = self(seen)
        return seen

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return self.cortex(seen)


def test_an_encoder_that_is_not_found_is_an_error_that_lists_the_candidates() -> None:
    with pytest.raises(CaptureError, match="no vision encoder") as error:
        resolve(Odd())
    assert "retina" in error.value.why
    assert "cortex" in error.value.why
    assert "--stages-of" in error.value.remedy


def test_a_file_serves_where_nothing_is_found() -> None:
    model = Odd()
    stages = resolve(model, {"vision_encoder": "retina"})
    recorder = Recorder()
    with attach(stages, lambda: recorder):
        model.generate(torch.zeros(1, 4), 3)
    assert recorder.below("generate") == ["vision", *steps(3)]


def test_a_path_that_is_not_there_is_an_error_that_names_near_ones() -> None:
    with pytest.raises(CaptureError, match="vision_towr") as error:
        resolve(llava().model, {"vision_encoder": "model.vision_towr"})
    assert "vision_tower" in error.value.why


@pytest.mark.parametrize("text", ["vison = 'a'", "this is = = not TOML"])
def test_a_file_with_an_unknown_key_or_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.toml"
    path.write_text(text)
    with pytest.raises(CaptureError):
        read_overrides(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot read"):
        read_overrides(tmp_path / "none.toml")


def test_a_text_model_has_its_decoder_as_language_model() -> None:
    stages = resolve(llama().model)
    assert stages.language_model == ("model",)
    assert stages.family == "llama"
    assert stages.paths()["generate_entries"] == ("generate",)


def test_a_layout_that_a_version_does_not_have_is_left_to_the_search() -> None:
    tiny: Tiny = llama()
    tiny.model.config.model_type = "llava"
    assert resolve(tiny.model).source == "search"
