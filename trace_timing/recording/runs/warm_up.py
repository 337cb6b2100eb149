"""Warm up an input shape: run until two consecutive runs agree, and note whether they did.

The first run of a new shape took two to three times as long as the next on an H200, also after a
warm-up of another shape, so it is no control.

Nor is the first run with new lengths of the cache: with cuDNN's attention, PyTorch's choice on an
H100 and an H200, each decode step to a length that was new to the process took 37 ms more (LLaVA
8B, otherwise 22 ms a step). A shortened warm-up, or that of a shorter call, ends before these
lengths, so the first longer run is compared with the second.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

from trace_timing.records.runs import ControlTimes, RunRecord
from trace_timing.stages import VISION_STAGES

MOST = 5
SPREAD = 0.10
#: Most new tokens of a warm-up run.
TOKENS = 16
#: Ratio from which on steps beyond the warm-up's may be the first of their lengths.
LATE = 1.25
RULE = (
    f"median step and prefill of two consecutive runs within {SPREAD:.0%}, at most {MOST} runs "
    f"of at most {TOKENS} new tokens"
)
_BEFORE_DECODING = (*VISION_STAGES, "text_encoder", "prefill")

AllAgree = Callable[[bool], bool]


@dataclass(frozen=True, kw_only=True)
class RunTimes:
    """Times of a run that warm-up compares; prefill (with vision) and step None if unmeasured."""

    total_ns: int
    prefill_ns: int | None = None
    #: Median over decode steps, each until the next forward begins.
    step_ns: int | None = None
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """How the warm-up of an input shape went."""

    runs: tuple[RunTimes, ...]
    agreed: bool

    def as_dict(self) -> dict[str, Any]:
        """For the record of the next run."""
        return {
            "runs": len(self.runs),
            "agreed": self.agreed,
            "totals_ns": [run.total_ns for run in self.runs],
        }

    def expected_ns(self, new_tokens: int | None) -> int | None:
        """Expected ns of a run with `new_tokens` (None: the warm-up's), by the last warm-up run."""
        if not self.runs:
            return None
        last = self.runs[-1]
        if new_tokens is None or last.step_ns is None:
            return last.total_ns
        return last.total_ns + (new_tokens - 1 - last.steps) * last.step_ns


def warm_up(run: Callable[[], RunTimes], all_agree: AllAgree = lambda agreed: agreed) -> WarmUp:
    """Call `run` until two consecutive runs agree, at most `MOST` times.

    Args:
        all_agree: whether all ranks that work on one run together agree; else some would wait for a
            run that others do not make.
    """
    runs = [run()]
    agreed = False
    while not agreed and len(runs) < MOST:
        runs.append(run())
        agreed = all_agree(agree(*runs[-2:]))
    return WarmUp(runs=tuple(runs), agreed=agreed)


def warm_up_summary(warm_ups: Sequence[WarmUp]) -> dict[str, Any]:
    """For the manifest: the rule, how often it was applied and failed, the first totals."""
    return {
        "rule": RULE,
        "shapes": len(warm_ups),
        "runs": sum(len(one.runs) for one in warm_ups),
        "disagreed": sum(not one.agreed for one in warm_ups),
        "totals_ns": [run.total_ns for run in warm_ups[0].runs],
    }


def agree(first: RunTimes, second: RunTimes) -> bool:
    """Whether two runs' steps and prefill lie within `SPREAD`; their totals where neither is known.

    Totals are not compared otherwise, because lengths may differ.
    """
    pairs = [(first.prefill_ns, second.prefill_ns), (first.step_ns, second.step_ns)]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    known = known or [(first.total_ns, second.total_ns)]
    return all(abs(a - b) <= SPREAD * min(a, b) for a, b in known)


def times_of(control: ControlTimes) -> RunTimes:
    """The times that a warm-up compares, from an unprofiled run's segments."""
    prefill = sum(s.duration_ns for s in control.segments if s.stage in _BEFORE_DECODING)
    steps = _steps(control)
    return RunTimes(
        total_ns=control.total_ns,
        prefill_ns=prefill or None,
        step_ns=round(median(steps.values())) if steps else None,
        steps=len(steps),
    )


def _steps(control: ControlTimes) -> dict[int, int]:
    """Number of each decode step → ns until the next forward begins."""
    steps: dict[int, int] = {}
    for segment in control.segments:
        if segment.step and segment.stage in ("decode", "sampling"):
            steps[segment.step] = steps.get(segment.step, 0) + segment.duration_ns
    return steps


def is_late(control: ControlTimes, reached: int = TOKENS - 1) -> bool:
    """Whether steps beyond `reached` took more than `LATE` times as long as those before.

    If so, they may have been the first of their lengths, or grow with the cache.

    Args:
        reached: most steps of earlier runs of this input shape; by default a shortened warm-up's.
    """
    steps = _steps(control)
    early = [ns for step, ns in steps.items() if step <= reached]
    late = [ns for step, ns in steps.items() if step > reached]
    return bool(late) and (not early or fmean(late) > LATE * median(early))


def is_first_of_its_lengths(
    control: ControlTimes, later: ControlTimes, reached: int = TOKENS - 1
) -> bool:
    """Whether steps beyond `reached` took over `SPREAD` longer than in a later run of the call."""
    steps, others = _steps(control), _steps(later)
    both = [(steps[n], others[n]) for n in steps if n > reached and n in others]
    here, there = (sum(side) for side in zip(*both, strict=True)) if both else (0, 0)
    return is_late(control, reached) and here > (1 + SPREAD) * there


def without_first(made: Sequence[RunRecord]) -> list[RunRecord]:
    """A sample's controls without the first that is not bare; the next record gets its time."""
    at = next(i for i, record in enumerate(made) if record.control and not record.control.bare)
    first, rest = made[at], [*made[:at], *made[at + 1 :]]
    note = {"first_of_its_lengths_ns": first.control.total_ns if first.control else None}
    if "warm_up" in first.machine:
        note["warm_up"] = first.machine["warm_up"]
    rest[at] = replace(rest[at], machine={**rest[at].machine, **note})
    return [
        replace(record, control=replace(record.control, index=index)) if record.control else record
        for index, record in enumerate(rest)
    ]


def new_tokens_of(inputs: Mapping[str, Any], model: Any) -> int | None:
    """Most new tokens of generate() with these arguments; None where not limited."""
    most = _setting("max_new_tokens", inputs, model)
    return most if isinstance(most, int) else None


def shortened(inputs: Mapping[str, Any], model: Any) -> dict[str, Any] | None:
    """Arguments of generate() for at most `TOKENS` new tokens; None where that is not possible.

    A static cache has the call's length, for which code is compiled, so such a call is warmed up
    unchanged.
    """
    if _setting("cache_implementation", inputs, model) not in (None, "dynamic"):
        return None
    if any(inputs.get(name) is not None for name in _NEVER_SHORTENED):
        return None
    new = new_tokens_of(inputs, model)
    if new is not None and new <= TOKENS:
        return None
    short = {name: value for name, value in inputs.items() if name not in _LENGTHS}
    if "generation_config" in inputs:
        short["generation_config"] = _without_least(inputs["generation_config"])
    least = inputs.get("min_new_tokens")
    if least is not None:
        short["min_new_tokens"] = min(least, TOKENS)
    return {**short, "max_new_tokens": TOKENS}


#: Arguments of generate() that say what is compiled, or give a cache, which may be static. Newer
#: transformers name the cache `cache`.
_NEVER_SHORTENED = ("past_key_values", "cache", "compile_config")

#: Arguments of generate() that would contradict a lower `max_new_tokens`.
_LENGTHS = frozenset({"max_new_tokens", "min_new_tokens", "max_length", "min_length"})


def _without_least(config: Any) -> Any:
    config = copy.copy(config)
    for name in ("min_new_tokens", "min_length"):
        if getattr(config, name, None):
            setattr(config, name, None if name == "min_new_tokens" else 0)
    return config


def _setting(name: str, inputs: Mapping[str, Any], model: Any) -> Any:
    """An argument of generate(), else from its generation configuration, else the model's."""
    configs = (inputs.get("generation_config"), getattr(model, "generation_config", None))
    given = (inputs.get(name), *(getattr(config, name, None) for config in configs))
    return next((value for value in given if value is not None), None)
