"""Parts of the model, told by the order of a forward's CPU ops where no ranges were recorded.

A transformer block adds to its input twice: `x + attention(norm(x))`, `x + mlp(norm(x))`. So a
norm that follows an addition at once begins the next half of a block, and what lies between two
such norms is attention if it holds an attention op, else the MLP. That holds for blocks that norm
first and add after, one half after the other (Llama, Qwen, Gemma, OLMoE, CLIP …). It is checked on
each forward: halves must alternate, with one attention op each. Where they do not (blocks whose
halves share a norm, compiled forwards), nothing is told and the reason is given.
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

#: The part of the model and the layer, where it lies in one.
Part = tuple[str, int | None]
REST: Part = ("rest", None)

#: Ops as letters, so that a forward is a word: N fused norm, A fused attention, L product with
#: weights, M product of activations, s softmax, k top-k, and the steps of a norm written out.
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
#: Fused, or written out: a softmax between two products of activations.
_CORE = re.compile(r"A|M[^LMAs]*s[^LMA]*M")
#: A router ends with the top-k and the scaling of its weights.
_ROUTER_END = re.compile(r"k[^L]*?(?:u?d)?t?(?=[^tud])")


#: Stages that are forwards of transformers: in others nothing is looked for.
_FORWARDS: frozenset[Stage] = frozenset(
    {"text_encoder", "vision_encoder", "prefill", "mixed", "decode", "draft"}
)


@dataclass(frozen=True)
class Unknown:
    """Why a forward's ops do not tell its parts."""

    reason: str


def parts_of_forward(names: Sequence[str]) -> list[Part] | Unknown:
    """The part that each op of a forward belongs to.

    Args:
        names: the outermost CPU ops of one forward, in order ("aten::linear").
    Returns:
        One part an op, or why that cannot be told.
    """
    word = "".join(_letter(name) for name in names)
    parts = [("norm", None) if inside else REST for inside in _in_norm(word)]
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
        parts[begin:end] = [(part, layer) for part in half]
    if last:
        parts = [
            ("head", None) if at >= last[0] and word[at] == "L" else part
            for at, part in enumerate(parts)
        ]
    return parts


def _feeds_forward(half: str) -> bool:
    """An MLP widens and narrows: two products with weights; experts choose first."""
    return half.count("L") > 1 or "k" in half


def _letter(name: str) -> str:
    return "A" if _ATTENTION.search(name) else _LETTERS.get(name.removeprefix("aten::"), ".")


def _first_norm(word: str) -> re.Match[str] | None:
    """The first block's first norm: of those before the first product with weights the last (CLIP
    norms its embeddings too)."""
    first = None
    for norm in _NORM.finditer(word):
        if first is not None and "L" in word[first.end() : norm.start()]:
            break
        first = norm
    return first


def _halves(word: str) -> list[tuple[int, int]]:
    """From each block norm's first op to its addition, or the end."""
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
    """Parts of half a block: its norms, and the rest of it."""
    router = None if is_attention else _ROUTER_END.search(word)
    if is_attention:
        parts = ["attention"] * len(word)
    elif router is not None:
        parts = ["router"] * router.end() + ["experts"] * (len(word) - router.end())
    else:
        parts = ["mlp"] * len(word)
    return ["norm" if inside else part for inside, part in zip(_in_norm(word), parts, strict=True)]


def _in_norm(word: str) -> list[bool]:
    inside = [False] * len(word)
    for norm in _NORM.finditer(word):
        inside[norm.start() : norm.end()] = [True] * (norm.end() - norm.start())
    return inside


@dataclass(frozen=True)
class Structure:
    """What the CPU ops of a run say of its parts."""

    #: Parts in a row of ops: part, host begin and end in ns, by begin.
    stretches: tuple[tuple[Part, int, int], ...]
    #: Of each forward stage whose parts are not told: why.
    unknown: Mapping[Stage, str]


def structure(trace: Trace, run: RunTimeline) -> Structure | None:
    """Parts of the generating thread's forwards; None where no CPU op of it was read."""
    events = trace.events
    rows = events.rows(Kind.CPU_OP)
    rows = rows[events.thread[rows] == run.generating_thread]
    rows = rows[outermost(events.start_ns[rows], events.end_ns[rows])]
    key = run.host.at(events.start_ns[rows])
    rows, key = rows[key >= 0], key[key >= 0]
    if not len(rows):
        return None
    stretches: list[tuple[Part, int, int]] = []
    unknown: dict[Stage, str] = {}
    for number in np.unique(key):
        stage, own = run.keys[number].stage, rows[key == number]
        if stage not in _FORWARDS:
            continue
        parts = parts_of_forward([trace.names[i] for i in events.name[own]])
        if isinstance(parts, Unknown):
            unknown[stage] = parts.reason
        else:
            stretches += _stretches(trace, own, parts)
    told = sorted((s for s in stretches if s[0] != REST), key=lambda s: s[1])
    return Structure(tuple(told), unknown)


def _stretches(trace: Trace, rows: IntArray, parts: list[Part]) -> list[tuple[Part, int, int]]:
    events, out, at = trace.events, [], 0
    for part, some in groupby(parts):
        begin, at = at, at + len(list(some))
        out.append((part, int(events.start_ns[rows[begin]]), int(events.end_ns[rows[at - 1]])))
    return out
