"""Colours that touch can be distinguished with the common colour blindnesses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from trace_timing.report.palette import CATAPULT_NAMES, COLOURS, LABELS, SERIES
from trace_timing.stages import STAGES

#: Linear RGB seen with full protanopia and deuteranopia: Machado, Oliveira, Fernandes (2009).
SEEN = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}
NEIGHBOURS = [
    ("vision_encoder", "projector"),
    ("projector", "prefill"),
    ("vision_encoder", "prefill"),
    ("prefill", "decode"),
    ("prefill", "mixed"),
    ("mixed", "decode"),
    ("mixed", "sampling"),
    ("decode", "sampling"),
    ("decode", "other"),
]


def seen(colour: str, eyes: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.clip(np.array(SEEN[eyes]) @ rgb**2.2, 0, 1) ** (1 / 2.2)


@pytest.mark.parametrize("eyes", SEEN)
@pytest.mark.parametrize("pair", NEIGHBOURS)
def test_stages_that_touch_can_be_distinguished(pair: tuple[str, str], eyes: str) -> None:
    first, second = (seen(COLOURS[stage], eyes) for stage in pair)
    assert np.linalg.norm(first - second) > 0.15


def test_every_stage_has_one_colour_of_its_own() -> None:
    assert set(COLOURS) == set(LABELS) == set(CATAPULT_NAMES) == set(STAGES)
    assert len(set(COLOURS.values())) == len(STAGES)


@pytest.mark.parametrize("eyes", SEEN)
def test_series_that_touch_in_a_bar_can_be_distinguished(eyes: str) -> None:
    shown = [seen(colour, eyes) for colour in SERIES]
    apart = [np.linalg.norm(a - b) for a, b in pairwise(shown)]
    assert min(apart) > 0.15
