"""Parts of a model are known by their paths; their ranges are there while profiled, else not."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from trace_timing.recording.hooks.components import component_of, component_ranges  # noqa: E402

pytestmark = pytest.mark.capture


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("model.language_model.layers.3.self_attn", "component:attention[3]"),
        ("model.language_model.layers.3.self_attn.q_proj", None),
        ("model.language_model.layers.0.mlp", "component:mlp[0]"),
        ("model.language_model.layers.0.mlp.gate_proj", None),
        ("model.language_model.layers.11.mlp.gate", "component:router[11]"),
        ("model.language_model.layers.11.mlp.experts", "component:experts[11]"),
        ("model.language_model.layers.2.post_attention_layernorm", "component:norm[2]"),
        ("model.language_model.norm", "component:norm"),
        ("model.vision_tower.encoder.layers.1.layer_norm1", "component:norm[1]"),
        ("lm_head", "component:head"),
        ("", None),
    ],
)
def test_a_path_tells_the_component(path: str, name: str | None) -> None:
    assert component_of(path) == name


class _Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(4)
        self.mlp = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp(self.norm(x))


class _Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([_Layer(), _Layer()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def _recorded(model: _Model, x: torch.Tensor) -> list[str]:
    with torch.profiler.profile() as profiler:
        model(x)
    names = [event.name for event in profiler.events()]
    return [name for name in names if name.startswith("component:")]


def test_ranges_are_recorded_while_profiled_and_hooks_are_gone_afterwards() -> None:
    model, x = _Model(), torch.ones(1, 4)
    on = True
    with component_ranges(model, lambda: on):
        assert sorted(_recorded(model, x)) == [
            "component:mlp[0]",
            "component:mlp[1]",
            "component:norm[0]",
            "component:norm[1]",
        ]
        on = False
        assert _recorded(model, x) == []
    on = True
    assert _recorded(model, x) == []
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_forward_that_fails_leaves_no_range_open() -> None:
    model = _Model()
    with component_ranges(model, lambda: True):
        with pytest.raises(RuntimeError):
            model(torch.ones(1, 5))
        assert len(_recorded(model, torch.ones(1, 4))) == 4
