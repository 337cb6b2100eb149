"""How much recording stretched the runs of a capture: recorded ÷ control, by group of stages.

For readers of the timeline: it shows how far recorded windows are from latencies. Nothing is
corrected by it, for latencies are those of the controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trace_timing.records.runs import RunRecord
from trace_timing.stages import STAGES, VISION_STAGES, Stage
from trace_timing.stats.latency.scaled import Cut
from trace_timing.stats.methods.intervals import Interval, median_interval

#: Group → the stages that it sums; a step is a forward and the sampling after it.
GROUPS: Mapping[str, tuple[Stage, ...]] = {
    "vision": VISION_STAGES,
    "prefill": ("prefill",),
    "step": ("decode", "sampling"),
    "total": STAGES,
}


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Median of a ratio over n samples, and its 95 % interval (None where n is too small)."""

    median: float
    interval: Interval | None
    samples: int

    def __str__(self) -> str:
        if self.interval is None:
            return f"×{self.median:.2f}"
        return f"×{self.median:.2f} [{self.interval.low:.2f}, {self.interval.high:.2f}]"


@dataclass(frozen=True, kw_only=True)
class RecordingEffect:
    """Recorded ÷ control by group, and how much hooks and marks slow the controls."""

    groups: Mapping[str, Ratio]
    #: Control with hooks ÷ bare control, totals; None without bare ones.
    hooks: Ratio | None
    sentence: str


def recording_effect(
    pairs: Sequence[tuple[Cut, Cut]], controls: Sequence[RunRecord] = ()
) -> RecordingEffect | None:
    """The effect over the samples with recorded runs and controls; None without any.

    Args:
        pairs: each sample's (recorded, control).
        controls: those of the capture, bare ones included.
    """
    groups = {name: ratio for name in GROUPS if (ratio := _of_group(name, pairs))}
    if "total" not in groups:
        return None
    step = f" (a decode step {groups['step']})" if "step" in groups else ""
    what = "what was recorded" if any(recorded.whole for recorded, _ in pairs) else "runs"
    return RecordingEffect(
        groups=groups,
        hooks=_hooks(controls),
        sentence=f"Recording made {what} {groups['total']} as long{step}; the latencies are those "
        "of runs that were not recorded.",
    )


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Median of pairwise ratios; n pairs, both positive."""
    values = np.asarray(above, np.float64) / np.asarray(below, np.float64)
    return Ratio(
        median=float(np.median(values)), interval=median_interval(values), samples=len(values)
    )


def _of_group(name: str, pairs: Sequence[tuple[Cut, Cut]]) -> Ratio | None:
    def of(cut: Cut) -> float:
        return sum(cut.by_stage.get(stage, 0) for stage in GROUPS[name])

    known = [(of(r), of(c)) for r, c in pairs if r.steps == c.steps and (r.steps or name != "step")]
    known = [(r, c) for r, c in known if r > 0 and c > 0]
    return ratio(*zip(*known, strict=True)) if known else None


def _hooks(controls: Sequence[RunRecord]) -> Ratio | None:
    """The median of each sample's controls with hooks ÷ its bare one."""
    hooked: dict[str, list[int]] = {}
    bare: list[tuple[str, int]] = []
    for record in controls:
        if record.status == "ok" and record.control and record.control.cupti != "attached":
            if record.control.bare:
                bare.append((record.sample_id, record.control.total_ns))
            else:
                hooked.setdefault(record.sample_id, []).append(record.control.total_ns)
    known = [(float(np.median(hooked[s])), ns) for s, ns in bare if s in hooked]
    return ratio(*zip(*known, strict=True)) if known else None
