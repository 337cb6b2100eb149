"""Compare recordings of servers: which forwards changed from A to B, how much, how surely.

The steps of one recording share the state of machine and server, so more steps do not show how far
the recording as a whole is off. Therefore recordings are the units, as captures are: each has one
value of a figure, over steps of equal stage, batch size and context.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from trace_timing.errors import UsageError
from trace_timing.stages import STEP_STAGES
from trace_timing.stats.comparison.capture_effect import CaptureEffect, Drift, moderated_effect
from trace_timing.stats.comparison.comparability import Difference, step_differences, withholds
from trace_timing.stats.comparison.compare import (
    MARGIN_FRAC,
    ComparedRow,
    ComparisonResult,
    Judgement,
    Verdict,
    judge_effects,
)
from trace_timing.stats.comparison.figures import (
    DEVICE_DRIFT,
    HOST_DRIFT,
    Basis,
    Level,
    one_sided_kernels,
)
from trace_timing.stats.comparison.step_cells import (
    QUICKEST,
    TYPICAL,
    Reading,
    SideValues,
    StepTables,
    side_values,
    with_cells,
)
from trace_timing.stats.methods.intervals import LEVEL, Interval
from trace_timing.stats.methods.multiple_testing import ALPHA, shares
from trace_timing.units import NS_PER_MS

#: Shares of α, fixed before any data. Decode matters most between releases; its busy time and
#: undisturbed level are the steadiest figures.
WEIGHTS = {
    "undisturbed decode": 0.40,
    "busy decode": 0.25,
    "undisturbed step": 0.08,
    "busy": 0.08,
    "stage": 0.08,
    "per token": 0.03,
    "batch": 0.08,
}
#: Prior spread of a recording's undisturbed level where all of it is host time. The tenth
#: percentile of decode steps without a profiler moved by 1 to 5 % between moments of one machine.
UNDISTURBED_DRIFT = Drift(0.03)
#: Most batch sizes with a verdict of their own: those with the most steps.
MOST_BATCHES = 8
TOKEN = "time per token"
NO_TTFT = (
    "no time to first token: a server's trace does not say when a request came, nor which forward "
    "served it"
)
ONE_RECORDING = (
    "one recording a side: drift between the recordings is not ruled out. Record both sides again, "
    "in turn on one machine (--also-a, --also-b)"
)


@dataclass(frozen=True)
class _StepFigure:
    level: Level
    name: str
    values: SideValues
    drift: Drift
    #: Whether it includes host time.
    host: bool

    @property
    def group(self) -> str:
        """The key of its weight in WEIGHTS: its own name where that has one, else its level."""
        return self.name if self.name in WEIGHTS else self.level


def compare_steps(
    a: StepTables,
    b: StepTables,
    *,
    also_a: Sequence[StepTables] = (),
    also_b: Sequence[StepTables] = (),
    basis: Basis = "latency",
    margin_frac: float = MARGIN_FRAC,
) -> ComparisonResult:
    """Compare the forwards of server B with those of A, matched by stage, batch size and context.

    Args:
        also_a, also_b: further recordings of each side. With one a side, the verdict on a change
            says that it may be drift.
        basis: `busy` or `recorded` leaves out the other kind of time.
    Raises:
        UsageError: no forwards match.
    """
    sides = ([a, *also_a], [b, *also_b])
    cells = [[with_cells(tables.steps) for tables in side] for side in sides]
    figures = [*_figures(cells[0], cells[1], basis)]
    if not figures:
        raise _no_match(a, b)
    unlike = step_differences(*sides)
    only_a, only_b = one_sided_kernels(*([t.kernels for t in side] for side in sides))
    single = min(map(len, sides)) == 1
    rows = _judged(figures, unlike, margin_frac, single=single)
    return ComparisonResult(
        a=a.source,
        b=b.source,
        basis=basis,
        paired=True,
        samples=min(_matched_steps(figures)),
        captures=(len(sides[0]), len(sides[1])),
        alpha=ALPHA,
        margin_frac=margin_frac,
        differences=unlike,
        notes=(
            *_left_out([t.steps for side in sides for t in side], len(sides[0]), figures),
            NO_TTFT,
            *([ONE_RECORDING] if single else []),
        ),
        rows=rows,
        only_a=only_a,
        only_b=only_b,
        subject="steps",
    )


def _no_match(a: StepTables, b: StepTables) -> UsageError:
    return UsageError(
        f"no forwards of {a.source} and {b.source} match by stage, batch size and context",
        why=f"a batch size needs {TYPICAL.fewest} steps in every recording",
        remedy="record both under the same load, and for longer",
    )


_Cells = Sequence[pd.DataFrame]


def _figures(a: _Cells, b: _Cells, basis: Basis) -> Iterator[_StepFigure]:
    """The figures to compare, by stage, batch size and token."""
    for stage in STEP_STAGES:
        ours, theirs = ([t[t["stage"] == stage] for t in side] for side in (a, b))
        host = _host_share([*ours, *theirs])
        if basis != "busy":
            yield from _figure("stage", stage, ours, theirs, "window_ns", host)
            yield from _figure(
                "undisturbed step", f"undisturbed {stage}", ours, theirs, "window_ns", host
            )
            if stage == "decode":
                yield from _figure("per token", TOKEN, ours, theirs, "token_ns", host)
        if basis != "recorded":
            yield from _figure("busy", f"busy {stage}", ours, theirs, "busy_ns", host)
        yield from _by_batch(stage, ours, theirs, basis, host)


def _by_batch(stage: str, a: _Cells, b: _Cells, basis: Basis, host: float) -> Iterator[_StepFigure]:
    """Figures of single batch sizes, where there are several."""
    counts = pd.concat([t["batch_size"].value_counts() for t in (*a, *b)], axis=1).dropna()
    if len(counts) < 2:
        return
    for size in sorted(counts.min(axis=1).nlargest(MOST_BATCHES).index):
        ours, theirs = ([t[t["batch_size"] == size] for t in side] for side in (a, b))
        name = f"{stage}, batch {size}"
        if basis != "busy":
            yield from _figure("batch", name, ours, theirs, "window_ns", host)
        if basis != "recorded":
            yield from _figure("batch", f"busy {name}", ours, theirs, "busy_ns", host)


def _figure(
    level: Level, name: str, a: _Cells, b: _Cells, column: str, host: float
) -> Iterator[_StepFigure]:
    reading: Reading = QUICKEST if level == "undisturbed step" else TYPICAL
    values = side_values(a, b, column, reading)
    if values is None:
        return
    is_host = column != "busy_ns"
    prior = UNDISTURBED_DRIFT if level == "undisturbed step" else HOST_DRIFT
    drift = _between(prior, host) if is_host else DEVICE_DRIFT
    yield _StepFigure(level, name, values, drift, is_host)


def _host_share(steps: _Cells) -> float:
    """Share of these steps' time in which the device idles, 1 where that is not known."""
    shares = pd.concat(steps)[["busy_ns", "window_ns"]].astype(float).dropna()
    shares = shares[shares["window_ns"] > 0]
    return 1.0 - float((shares["busy_ns"] / shares["window_ns"]).median()) if len(shares) else 1.0


def _between(host: Drift, share: float) -> Drift:
    """Drift of a time with this share of host time; the rest drifts as device time does."""
    return replace(host, spread=share * host.spread + (1 - share) * DEVICE_DRIFT.spread)


def _judged(
    figures: Sequence[_StepFigure],
    unlike: Sequence[Difference],
    margin_frac: float,
    *,
    single: bool,
) -> tuple[ComparedRow, ...]:
    """A verdict for each figure."""
    # Where tokens differ within cells, time changes at most in proportion to them.
    effects = [
        moderated_effect(f.values.a, f.values.b, f.values.noise, f.drift, shift=f.values.apart)
        for f in figures
    ]
    reasons = [_withheld(figure, unlike) for figure in figures]
    share = shares([figure.group for figure in figures], WEIGHTS)
    judgements = judge_effects(effects, share, reasons, margin_frac)
    return tuple(
        _row(figure, effect, _of_one(judged) if single else judged)
        for figure, effect, judged in zip(figures, effects, judgements, strict=True)
    )


_OF_ONE: dict[Verdict, Verdict] = {"slower": "slower, or drift", "faster": "faster, or drift"}


def _of_one(judged: Judgement) -> Judgement:
    return replace(judged, verdict=_OF_ONE.get(judged.verdict, judged.verdict))


def _withheld(figure: _StepFigure, unlike: Sequence[Difference]) -> str:
    for difference in unlike:
        if withholds(difference, host=figure.host, steadied=False):
            return f"{difference.name} differs: {difference.a} and {difference.b}"
    return ""


def _row(figure: _StepFigure, effect: CaptureEffect, judged: Judgement) -> ComparedRow:
    a, b = (math.exp(float(v.mean())) / NS_PER_MS for v in (figure.values.a, figure.values.b))
    around = effect.interval(LEVEL)
    return ComparedRow(
        level=figure.level,
        name=figure.name,
        a_ms=a,
        b_ms=b,
        difference_ms=b - a,
        ratio=math.exp(effect.log_ratio),
        ratio_interval=Interval(math.exp(around.low), math.exp(around.high)),
        spread_frac=effect.spread,
        n=effect.n,
        unit="recordings",
        p=effect.p,
        verdict=judged.verdict,
        needed=judged.needed,
        shown_frac=judged.shown_frac,
        reason=judged.reason,
    )


def _matched_steps(figures: Sequence[_StepFigure]) -> tuple[int, int]:
    """Steps of A and of B behind any verdict, counted over the stages, which do not overlap."""
    used = {
        figure.name.removeprefix("busy "): figure.values.used
        for figure in reversed(figures)
        if figure.level in ("stage", "busy")
    }
    totals = np.array([*used.values()]).sum(axis=0)
    return int(totals[0]), int(totals[1])


def _left_out(
    steps: Sequence[pd.DataFrame], split: int, figures: Sequence[_StepFigure]
) -> Iterator[str]:
    """Notes on forwards without a partner."""
    matched = _matched_steps(figures)
    for side, own, used in (("A", steps[:split], matched[0]), ("B", steps[split:], matched[1])):
        total = sum(map(len, own))
        if total > used:
            yield (
                f"{total - used:,} of {total:,} forwards of {side} have no partner of the same "
                "stage, batch size and context, or do not tell them, and are left out"
            )
