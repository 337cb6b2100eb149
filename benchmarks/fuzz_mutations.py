"""Mutations of small traces: of fields, events and text, by the grammar of what is written."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.small_traces import laid_out

Event = dict[str, Any]
Mutation = Callable[[random.Random, list[Event]], None]

TIMED = ("user_annotation", "cuda_runtime", "kernel", "gpu_memcpy")
HOSTILE_NUMBERS: tuple[Any, ...] = (
    0, -1, -5, 1, 0.001, -0.5, 7.0, 2**31 - 3, 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1, 2**63,
    2**64 - 1, 10**30, 1e15, 9.3e15, 1.79e15, 1e308, "7", "0x1f", "", "soon", "1e400", None, True,
    [], {}, "9" * 5000,
)  # fmt: skip
HOSTILE_NAMES = (
    "decode[1]", "decode[2]", "decode[99999999999999999999]", "sampling[0]", "prefill", "generate",
    "vision", "decode", "=1+1", "\x1b[31m", "é", "\ud83d\ude00", "a" * 3000, "(" * 200, "", "\0",
    "flashinfer" * 300, "Memcpy DtoH", "component:attention[3]",
)  # fmt: skip
CATEGORIES = (
    "kernel", "Kernel", "KERNEL", "cuda_runtime", "Runtime", "xpu_runtime", "hip_runtime", "cpu_op",
    "user_annotation", "mtia_ccp_events", "python_function", "gpu_memset", "cuda_sync", "overhead",
    "", None, 5, "ac2g",
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A mutated trace."""

    #: Bytes of the file.
    data: bytes
    gzipped: bool
    kinds: tuple[str, ...]
    #: The trace that was mutated.
    seed: str
    #: The text that a plain reader can be asked about: without damage to what is not timed.
    readable: str
    #: Nothing that is timed was touched: it must be read.
    harmless: bool


def mutant(rng: random.Random, seed: str) -> Mutant:
    """A trace with one to three mutations."""
    document = json.loads(seed)
    events: list[Event] = document["traceEvents"]
    header = {k: v for k, v in document.items() if k not in ("traceEvents", "traceName")}
    kinds: list[str] = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        change = rng.choice(FIELD_MUTATIONS)
        change(rng, events)
        kinds.append(change.__name__)
    text = laid_out(header, events)
    data, gzipped = text.encode(), False
    readable, harmless = text, not kinds
    if not kinds or rng.random() < 0.4:
        damage = rng.choice(TEXT_MUTATIONS)
        kinds.append(damage.__name__)
        data, unneeded = damage(rng, text)
        harmless = harmless and unneeded
        if not unneeded:
            readable = data.decode("utf-8", "surrogateescape")
    if rng.random() < 0.15:
        data, gzipped = gzip.compress(data, 1), True
        if rng.random() < 0.5:
            kinds.append("damaged_gzip")
            harmless, data = False, _flipped(rng, data)
    return Mutant(data, gzipped, tuple(kinds), seed, readable, harmless)


# Fields and events ---------------------------------------------------------------------------


def _timed(rng: random.Random, events: list[Event]) -> Event:
    return rng.choice([e for e in events if e.get("cat") in TIMED] or events)


def hostile_time(rng: random.Random, events: list[Event]) -> None:
    """A begin or duration that no clock gives."""
    _timed(rng, events)[rng.choice(["ts", "dur"])] = rng.choice(HOSTILE_NUMBERS)


def other_time(rng: random.Random, events: list[Event]) -> None:
    """A begin or duration that is off."""
    event, which = _timed(rng, events), rng.choice(["ts", "dur"])
    if isinstance(event.get(which), int | float):
        event[which] = round(event[which] * rng.choice([0, 0.5, 0.99, 1.01, 2, 1000]), 3)


def shifted(rng: random.Random, events: list[Event]) -> None:
    """A begin that is off by a little."""
    event = _timed(rng, events)
    if isinstance(event.get("ts"), int | float):
        event["ts"] = round(event["ts"] + rng.uniform(-50, 50), 3)


def hostile_argument(rng: random.Random, events: list[Event]) -> None:
    """An argument that no profiler writes."""
    event = _timed(rng, events)
    name = rng.choice(["correlation", "device", "stream", "bytes", "graph id", "graph node id"])
    event["args"] = {**_args(event), name: rng.choice(HOSTILE_NUMBERS)}


def _args(event: Event) -> dict[str, Any]:
    args = event.get("args")
    return args if isinstance(args, dict) else {}


def no_arguments(rng: random.Random, events: list[Event]) -> None:
    """Arguments gone, or of another type."""
    _timed(rng, events)["args"] = rng.choice([{}, None, [], "x", 5, {"correlation": {}}])


def other_correlation(rng: random.Random, events: list[Event]) -> None:
    """Another event's correlation id."""
    event, other = _timed(rng, events), _timed(rng, events)
    event["args"] = {**_args(event), "correlation": _args(other).get("correlation", 0)}


def hostile_place(rng: random.Random, events: list[Event]) -> None:
    """Another process or thread, of any type."""
    event = _timed(rng, events)
    event[rng.choice(["pid", "tid"])] = rng.choice([*HOSTILE_NUMBERS, "[TP01] 5", "stream 7"])


def place_of_another(rng: random.Random, events: list[Event]) -> None:
    """The process, or process and thread, of another event."""
    event, other = _timed(rng, events), _timed(rng, events)
    for field in rng.choice([["pid"], ["pid", "tid"]]):
        if field in other:
            event[field] = other[field]


def process_renamed(rng: random.Random, events: list[Event]) -> None:
    """A process or device under another name wherever it stands."""
    pid = _timed(rng, events).get("pid")
    new = rng.choice(["[TP01] 5", "[TP07] 0", "Rank 3", 4243, "4242", 0, 1, "x-12"])
    for event in events:
        if event.get("pid") == pid:
            event["pid"] = new


def other_thread(rng: random.Random, events: list[Event]) -> None:
    """Another thread of the process."""
    _timed(rng, events)["tid"] = rng.choice([77, 78, "77", 77.0, 5])


def other_name(rng: random.Random, events: list[Event]) -> None:
    """Another name."""
    _timed(rng, events)["name"] = rng.choice([*HOSTILE_NAMES, None, 5, ["a"]])


def other_category(rng: random.Random, events: list[Event]) -> None:
    """Another category."""
    _timed(rng, events)["cat"] = rng.choice(CATEGORIES)


def other_phase(rng: random.Random, events: list[Event]) -> None:
    """Another phase."""
    _timed(rng, events)["ph"] = rng.choice(["B", "E", "i", "s", "M", "", None, 5, "XX"])


def field_gone(rng: random.Random, events: list[Event]) -> None:
    """A field gone."""
    event = _timed(rng, events)
    event.pop(rng.choice(list(event) or ["ph"]), None)


def event_gone(rng: random.Random, events: list[Event]) -> None:
    """An event gone."""
    del events[rng.randrange(len(events))]


def event_twice(rng: random.Random, events: list[Event]) -> None:
    """An event twice."""
    events.insert(rng.randrange(len(events) + 1), dict(rng.choice(events)))


def shuffled(rng: random.Random, events: list[Event]) -> None:
    """Events in another order."""
    rng.shuffle(events)


def range_added(rng: random.Random, events: list[Event]) -> None:
    """A range, at times crossing others, nested or without length."""
    like = dict(rng.choice([e for e in events if e.get("cat") == "user_annotation"] or events))
    if isinstance(like.get("ts"), int | float):
        like["ts"] = round(like["ts"] + rng.uniform(-20, 60), 3)
    like["dur"] = rng.choice([0, 0.001, 3.5, 50.0, 1000.0])
    events.append({**like, "cat": "user_annotation", "name": rng.choice(HOSTILE_NAMES)})


def crossing_step(rng: random.Random, events: list[Event]) -> None:
    """A step that begins before another has ended."""
    steps = [e for e in events if str(e.get("name")).startswith("decode[")]
    steps = [e for e in steps if isinstance(e.get("ts"), float) and isinstance(e.get("dur"), float)]
    if not steps:
        return
    one = rng.choice(steps)
    begin, end = one["ts"] + one["dur"] / 2, one["ts"] + one["dur"] + 0.125
    later = {"name": "decode[900]", "ts": round(begin, 3), "dur": round(end - begin, 3)}
    events.insert(rng.randrange(len(events) + 1), {**one, **later})


def joined_by_zero(rng: random.Random, events: list[Event]) -> None:
    """A launch and its op with correlation id 0."""
    op = rng.choice([e for e in events if e.get("cat") == "kernel"] or events)
    wanted = _args(op).get("correlation")
    for event in events:
        if _args(event).get("correlation") == wanted:
            event["args"] = {**_args(event), "correlation": 0}


def unmapped_bad_range(rng: random.Random, events: list[Event]) -> None:
    """A range of somebody else's without usable times."""
    like = dict(rng.choice([e for e in events if e.get("cat") == "user_annotation"] or events))
    events.append({**like, "name": "theirs", "dur": rng.choice([None, -1, "NaN", 1e300])})


def many_launches_as_one(rng: random.Random, events: list[Event]) -> None:
    """Ops that share a launch."""
    ops = [e for e in events if e.get("cat") == "kernel"]
    for op in rng.sample(ops, min(len(ops), 4)):
        op["args"] = {**_args(op), "correlation": _args(ops[0]).get("correlation")}


FIELD_MUTATIONS: tuple[Mutation, ...] = (
    hostile_time, other_time, shifted, hostile_argument, no_arguments, other_correlation,
    hostile_place, place_of_another, process_renamed, other_thread, other_name, other_category,
    other_phase, field_gone, event_gone, event_twice, shuffled, range_added, crossing_step,
    crossing_step, joined_by_zero, unmapped_bad_range, many_launches_as_one,
)  # fmt: skip

# Text ----------------------------------------------------------------------------------------
# Each gives the file's bytes, and whether nothing that is timed was touched.

_PYTHON = (
    '{"ph": "X", "cat": "python_function", "name": "NAME", "pid": 77, "tid": 77, "ts": 5, "dur": 1}'
)


def _with_event(rng: random.Random, text: str, event: bytes) -> bytes:
    """The text with an event more, between two others or first or last."""
    places = [i for i in range(len(text)) if text.startswith('\n  {"', i)]
    at = rng.choice(places) + 3
    return text[:at].encode() + event + b",\n  " + text[at:].encode()


def bad_text_in_unneeded(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """A python_function with what Kineto has written into names."""
    names = (
        b"C:\\x\\m.py",
        b"\xff\xfe",
        b"a\x01b",
        b"a\nb",
        b"\\ud800",
        b"\\u12",
        b"C:\\dir\\",
        b'say "x" y',
    )
    return _with_event(rng, text, _PYTHON.encode().replace(b"NAME", rng.choice(names))), True


def deep_in_unneeded(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """A python_function whose arguments nest deeply."""
    depth = rng.choice([50, 5000])
    args = b'"args": {"a": ' + b"[" * depth + b"]" * depth + b"}"
    event = _PYTHON.encode().replace(b'"dur": 1', b'"dur": 1, ' + args)
    return _with_event(rng, text, event), True


def non_finite_in_argument(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """A bandwidth over a zero duration."""
    number = rng.choice(["NaN", "inf", "-inf", "-nan(ind)", "nan", "-1.#IND", "Infinity"])
    return text.replace('"args": {"', '"args": {"GB/s": ' + number + ', "', 3).encode(), True


def byte_mark(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """A mark of the order of bytes before the text."""
    return b"\xef\xbb\xbf" + text.encode(), True


def bytes_flipped(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """Some bytes are others."""
    return _flipped(rng, text.encode()), False


def _flipped(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] = rng.choice(
            [*b'"\\{}[],:0e-', 0, 255, rng.randrange(256)]
        )
    return bytes(changed)


def cut_short(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """The end is missing."""
    return text[: rng.randrange(len(text))].encode(), False


def hole(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """A piece is missing."""
    begin = rng.randrange(len(text))
    return (text[:begin] + text[begin + rng.choice([1, 5, 80, 2000]) :]).encode(), False


def twice(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """Two documents, whole or interleaved."""
    at = rng.choice([len(text), rng.randrange(len(text))])
    return (text[:at] + text + text[at:]).encode(), False


def other_layout(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """The same document, laid out otherwise."""
    indent, spaces = rng.choice([(None, (",", ":")), (4, None), (None, (" ,\r\n", "\t: "))])
    return json.dumps(json.loads(text), indent=indent, separators=spaces).encode(), False


def number_too_large(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """A number that is none of any type."""
    found = rng.choice(list(re.finditer(r'": (-?\d+(?:\.\d+)?)', text)))
    number = rng.choice(["1e999", "-1e999", "9" * 400, "17e507"])
    return (text[: found.start(1)] + number + text[found.end(1) :]).encode(), False


def token_inserted(rng: random.Random, text: str) -> tuple[bytes, bool]:
    """A token where none belongs."""
    at = rng.randrange(len(text))
    token = rng.choice(['"', "\\", "},\n  {", "]", "[", "NaN", '"traceEvents": [', "null,", "\0"])
    return (text[:at] + token + text[at:]).encode(), False


TEXT_MUTATIONS: tuple[Callable[[random.Random, str], tuple[bytes, bool]], ...] = (
    bad_text_in_unneeded, bad_text_in_unneeded, deep_in_unneeded, non_finite_in_argument, byte_mark,
    bytes_flipped, bytes_flipped, cut_short, hole, twice, other_layout, token_inserted,
    number_too_large,
)  # fmt: skip
