"""Recognise a model's components by the order of a forward's CPU ops, without component ranges.

A transformer block adds to its input twice: `x + attention(norm(x))`, `x + mlp(norm(x))`. So a
norm directly after an addition begins the next half of a block, and what lies between two such
norms is attention if it holds an attention op, else the MLP. That holds for blocks that norm first
and add last, one half after the other (Llama, Qwen, Gemma, OLMoE, CLIP …). It is checked on each
forward: halves must alternate between one attention op and none. Where they do not (blocks whose
halves share a norm, compiled forwards), the result is the reason and no component.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from trace_timing.arrays import IntArray
from trace_timing.stages import Stage
from trace_timing.timeline.build.intervals import outermost
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.trace.events import Kind, Trace

#: Its name, and the layer that it lies in, if any.
Component = tuple[str, int | None]
REST: Component = ("rest", None)

#: Ops as letters, so that patterns can match a forward as a word: N fused norm, A fused attention,
#: L product with weights, M product of activations, s softmax, k top-k, and the ops of an unfused
#: norm.
_LETTERS: Mapping[str, str] = {
    **dict.fromkeys(("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm"), "N"),
    **dict.fromkeys(("linear", "addmm", "mm"), "L"),
    **dict.fromkeys(("matmul", "bmm", "baddbmm"), "M"),
    **dict.fromkeys(("add", "add_"), "a"),
    **dict.fromkeys(("to", "_to_copy", "type_as", "float"), "t"),
    **dict.fromkeys(("pow", "square"), "p"),
    **dict.fromkeys(("softmax", "_softmax"), "s"),
    "mean": "m",
    "rsqrt": "r",
    "mul": "x",
    "topk": "k",
    "div": "d",
    "div_": "d",
    "sum": "u",
}
_ATTENTION = re.compile(r"scaled_dot_product|flash_attn|_attention|AttnFunc", re.IGNORECASE)
#: x · rsqrt(mean(x²) + ε) · weight, Gemma's (1 + weight) too.
_NORM = re.compile(r"N|t?pmarx(?:ta?x|x)?t?")
_BLOCK_NORM = re.compile(rf"a(?P<norm>{_NORM.pattern})")
#: Attention: fused, or a softmax between two products of activations.
_CORE = re.compile(r"A|M[^LMAs]*s[^LMA]*M")
#: A router ends with the top-k and the scaling of its weights.
_ROUTER_END = re.compile(r"k[^L]*?(?:u?d)?t?(?=[^tud])")


#: Stages that are forwards of transformers; others have no components.
_FORWARDS: frozenset[Stage] = frozenset(
    {"text_encoder", "vision_encoder", "prefill", "mixed", "decode", "draft"}
)


@dataclass(frozen=True)
class Unknown:
    """Why a forward's components were not recognised."""

    reason: str


def components_of_forward(names: Sequence[str]) -> list[Component] | Unknown:
    """The component that each op of a forward belongs to.

    Args:
        names: the outermost CPU ops of one forward, in order ("aten::linear").
    Returns:
        One component an op, or why they were not recognised.
    """
    word = "".join(_letter(name) for name in names)
    components = [("norm", None) if inside else REST for inside in _in_norm(word)]
    halves = _halves(word)
    cores = [len(_CORE.findall(word, begin, end)) for begin, end in halves]
    if not sum(cores):
        return Unknown("no attention op among its CPU ops")
    # After the last block comes a norm of its own, or nothing at all.
    last = halves.pop() if len(halves) % 2 else None
    expected = [1, 0] * (len(halves) // 2)
    fed = all(_feeds_forward(word[begin:end]) for begin, end in halves[1::2])
    if cores[: len(halves)] != expected or (last and cores[-1]) or not fed:
        return Unknown("its halves of blocks do not alternate between attention and MLP")
    for number, (begin, end) in enumerate(halves):
        layer = number // 2
        half = _half(word[begin:end], is_attention=not number % 2)
        components[begin:end] = [(component, layer) for component in half]
    if last:
        components = [
            ("head", None) if at >= last[0] and word[at] == "L" else component
            for at, component in enumerate(components)
        ]
    return components


def _feeds_forward(half: str) -> bool:
    """Whether half a block is an MLP: two products with weights, or a top-k of experts."""
    return half.count("L") > 1 or "k" in half


def _letter(name: str) -> str:
    return "A" if _ATTENTION.search(name) else _LETTERS.get(name.removeprefix("aten::"), ".")


def _first_norm(word: str) -> re.Match[str] | None:
    """The first block's first norm: the last one before the first product with weights, for CLIP
    norms its embeddings too."""
    first = None
    for norm in _NORM.finditer(word):
        if first is not None and "L" in word[first.end() : norm.start()]:
            break
        first = norm
    return first


def _halves(word: str) -> list[tuple[int, int]]:
    """Begin and end of each half of a block: from its norm to its addition, or the end."""
    first = _first_norm(word)
    if first is None:
        return []
    adds = [m.start() for m in _BLOCK_NORM.finditer(word, first.end())]
    begins = [first.start(), *(at + 1 for at in adds)]
    halves = list(zip(begins, [*adds, len(word)], strict=True))
    if len(halves) % 2 == 0 and (closing := word.rfind("a", halves[-1][0])) > 0:
        # The last block closes with an addition that no norm follows.
        halves[-1] = (halves[-1][0], closing)
    return halves


def _half(word: str, *, is_attention: bool) -> list[str]:
    """The component of each op of half a block: its norms, and the rest of it."""
    router = None if is_attention else _ROUTER_END.search(word)
    if is_attention:
        rest = ["attention"] * len(word)
    elif router is not None:
        rest = ["router"] * router.end() + ["experts"] * (len(word) - router.end())
    else:
        rest = ["mlp"] * len(word)
    return ["norm" if inside else name for inside, name in zip(_in_norm(word), rest, strict=True)]


def _in_norm(word: str) -> list[bool]:
    """Whether each op is in a norm."""
    inside = [False] * len(word)
    for norm in _NORM.finditer(word):
        inside[norm.start() : norm.end()] = [True] * (norm.end() - norm.start())
    return inside


@dataclass(frozen=True)
class Structure:
    """A run's components as its CPU ops show them."""

    #: Adjoining ops of one component: component, host begin and end in ns, by begin.
    stretches: tuple[tuple[Component, int, int], ...]
    #: Stage whose components were not recognised → why.
    unknown: Mapping[Stage, str]


def structure(trace: Trace, run: RunTimeline) -> Structure | None:
    """Components of the generating thread's forwards; None without CPU ops of that thread."""
    events = trace.events
    rows = events.rows(Kind.CPU_OP)
    rows = rows[events.thread[rows] == run.generating_thread]
    rows = rows[outermost(events.start_ns[rows], events.end_ns[rows])]
    key = run.host.at(events.start_ns[rows])
    rows, key = rows[key >= 0], key[key >= 0]
    if not len(rows):
        return None
    stretches: list[tuple[Component, int, int]] = []
    unknown: dict[Stage, str] = {}
    for number in np.unique(key):
        stage, own = run.keys[number].stage, rows[key == number]
        if stage not in _FORWARDS:
            continue
        components = components_of_forward([trace.names[i] for i in events.name[own]])
        if isinstance(components, Unknown):
            unknown[stage] = components.reason
        else:
            stretches += _stretches(trace, own, components)
    named = sorted((s for s in stretches if s[0] != REST), key=lambda s: s[1])
    return Structure(tuple(named), unknown)


def _stretches(
    trace: Trace, rows: IntArray, components: list[Component]
) -> list[tuple[Component, int, int]]:
    """Adjoining ops of one component, joined: component, begin and end."""
    events, joined, at = trace.events, [], 0
    for component, ops in groupby(components):
        begin, at = at, at + len(list(ops))
        start_ns, end_ns = events.start_ns[rows[begin]], events.end_ns[rows[at - 1]]
        joined.append((component, int(start_ns), int(end_ns)))
    return joined
