"""Data of the first screen: what was measured, four figures with intervals, a bar a stage.

Plain rows: templates draw them, tests compare them with the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING

from trace_timing.report.findings import CANNOT_TELL, ms, plus_minus
from trace_timing.report.latency_rows import LatencyRow, half_frac, latency_rows
from trace_timing.report.main_finding import Limit, limit_of
from trace_timing.report.model import OlderFigure, ReportData

if TYPE_CHECKING:
    import pandas as pd

#: latency_source → its name on a tile.
_SOURCES = {
    "control": "unprofiled",
    "scaled": "scaled from other samples' unprofiled runs",
    "attached": "profiler attached: upper bound",
    "recorded": "recorded: upper bound",
}
#: latency_source → its word in the glossary, where that differs.
_WORDS = {"control": "unprofiled"}
#: Time of the sample table → slug, label and glossary word of its tile.
_TILES = {
    "T_vision_total": ("vision", "Vision", "vision"),
    "T_LLM_prefill": ("prefill", "Prefill", "prefill"),
    "T_decode_per_token": ("step", "Decode, a step", "step"),
    "T_total": ("total", "Total", "total"),
}
#: Approximate number of ticks of an axis.
_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One of the four figures, with its interval and source."""

    slug: str
    label: str
    word: str
    #: None if no sample has the time.
    ms: float | None
    #: `ms` as shown: `22.9 ms`, `no step`.
    figure: str
    #: `± 18%`; empty without an interval.
    plus_minus: str
    #: Lines under the figure: interval or bounds, further figures.
    lines: tuple[str, ...]
    #: `unprofiled, 5 runs each`.
    source: str
    #: Word of the source in the glossary.
    source_word: str
    #: `median of 3 samples: 104 to 3,036 ms`; empty for one sample.
    summary: str
    older: OlderFigure | None = None


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One stage as a bar on the common axis."""

    row: LatencyRow
    #: True for a part of the vision stage, under the bar of the whole.
    is_part: bool
    limit: Limit
    older: OlderFigure | None = None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From 0 to `end_ms`, with ticks at round numbers."""

    end_ms: float
    ticks_ms: tuple[float, ...]

    def percent(self, ms: float) -> float:
        """Place of a time on the axis, in per cent of its length."""
        return 100 * ms / self.end_ms


def tiles(data: ReportData) -> list[Tile]:
    """The tiles of vision, prefill, a decode step and the total."""
    return [_tile(data.samples, time, data.older.get(time)) for time in _TILES]


def _tile(samples: pd.DataFrame, time: str, older: OlderFigure | None) -> Tile:
    slug, label, word = _TILES[time]
    known = samples[samples[f"{time}_ms"].notna()]
    value = float(known[f"{time}_ms"].median()) if len(known) else None
    source, source_word = source_of(known)
    return Tile(
        slug=slug,
        label=label,
        word=word,
        ms=value,
        figure=_missing(samples, time) if value is None else ms(value),
        plus_minus=plus_minus(half_frac(known, time)) if len(known) else "",
        lines=tuple(_lines(known, time)) if len(known) else tuple(_why_missing(samples, time)),
        source=source,
        source_word=source_word,
        summary=_summary(known, time),
        older=older,
    )


def _missing(samples: pd.DataFrame, time: str) -> str:
    """Shown in place of a figure that no sample has."""
    if time == "T_decode_per_token" and (samples["decode_steps"] == 0).all():
        return "no step"
    return CANNOT_TELL


def _why_missing(samples: pd.DataFrame, time: str) -> list[str]:
    """Line under a figure that no sample has."""
    if _missing(samples, time) == "no step":
        return ["One output token comes from prefill alone."]
    return ["No range of the trace stands for it."]


def _lines(known: pd.DataFrame, time: str) -> list[str]:
    """Lines under a figure: its interval, or lower bound without one, and related figures."""
    lines = [_between(known, time)]
    if time == "T_LLM_prefill" and known["T_TTFT_ms"].notna().any():
        interval = plus_minus(half_frac(known[known["T_TTFT_ms"].notna()], "T_TTFT"))
        lines.append(f"TTFT {ms(known['T_TTFT_ms'].median())} {interval}".rstrip())
    if time == "T_decode_per_token" and known["T_step_undisturbed_ms"].notna().any():
        lines.append(f"undisturbed {ms(known['T_step_undisturbed_ms'].median())}")
    if time == "T_total" and known["T_LLM_decode_ms"].notna().any():
        steps = int(known["decode_steps"].median())
        lines.append(f"of it {steps:,} decode step{'' if steps == 1 else 's'}")
    return [line for line in lines if line]


def _between(known: pd.DataFrame, time: str) -> str:
    """The interval; of recorded times alone, GPU busy time as the lower bound."""
    measured = known[known["latency_source"] != "recorded"]
    low, high = (measured[f"{time}_{end}_ms"].median() for end in ("lo", "hi"))
    if low == low and high == high:
        return f"95 %: {_range(low, high)}"
    busy = known[f"{time}_busy_ms"].median()
    if busy == busy and (known["latency_source"] == "recorded").all():
        return f"at least {ms(busy)} (GPU busy)"
    return ""


def _range(low: float, high: float) -> str:
    """`19.3 to 27.1 ms`."""
    return f"{ms(low).removesuffix(' ms')} to {ms(high)}"


def _summary(known: pd.DataFrame, time: str) -> str:
    """Number of samples and range of their times; empty for one sample."""
    number = known["sample_id"].nunique()
    if number < 2:
        return ""
    values = known[f"{time}_ms"]
    return f"median of {number:,} samples: {_range(values.min(), values.max())}"


def source_of(samples: pd.DataFrame) -> tuple[str, str]:
    """How times were measured, in a few words, and the glossary's word for it."""
    counts = samples["latency_source"].value_counts()
    if counts.empty:
        return "", ""
    if len(counts) > 1:
        sources = [
            f"{counts[source]} {words.split(':')[0]}"
            for source, words in _SOURCES.items()
            if source in counts
        ]
        return f"sources differ: {', '.join(sources)}", "unprofiled"
    source = str(counts.index[0])
    return f"{_SOURCES[source]}{_runs(samples)}", _WORDS.get(source, source)


def _runs(samples: pd.DataFrame) -> str:
    """`, 5 runs each`; empty without controls."""
    controls = samples["controls"].astype(int)
    least, most = int(controls.min()), int(controls.max())
    if not most:
        return ""
    number = f"{most}" if least == most else f"{least} to {most}"
    each = " each" if samples["sample_id"].nunique() > 1 else ""
    return f", {number} run{'' if most == 1 else 's'}{each}"


def bars(data: ReportData) -> list[Bar]:
    """A bar for each stage, the parts of vision under the whole, the total last."""
    rows = {row.time: row for row in latency_rows(data)}
    parts = [t for t in ("T_vision_encoder", "T_projector") if t in rows]
    order = [t for t in rows if t not in parts]
    if "T_vision_total" in rows:
        at = order.index("T_vision_total") + 1
        order[at:at] = parts
    else:
        order = [*parts, *order]
    under = "T_vision_total" in rows
    return [
        Bar(
            row=rows[t],
            is_part=under and t in parts,
            limit=limit_of(rows[t].idle_frac),
            older=data.older.get(t),
        )
        for t in order
    ]


def axis_of(values_ms: list[float]) -> Axis:
    """An axis from 0 that holds the values, with ticks at 1, 2 or 5 × a power of ten."""
    longest = max(values_ms, default=0.0) or 1.0
    rough = longest / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    end = longest * 1.02
    return Axis(end_ms=end, ticks_ms=tuple(step * i for i in range(int(end / step) + 1)))


def measured(data: ReportData) -> list[tuple[str, str]]:
    """What was measured, as (name, value): model, device, samples, tokens, versions."""
    samples = data.samples
    number = samples["sample_id"].nunique()
    ranks = samples["rank"].nunique()
    facts = [
        ("samples", f"{number:,}" + (f" on {ranks} ranks" if ranks > 1 else "")),
        ("tokens in", _count_range(samples, "input_tokens")),
        ("tokens out", _count_range(samples, "output_tokens")),
        *(
            (name, _distinct(samples, name))
            for name in ("dtype", "attention", "torch", "transformers", "cuda")
        ),
    ]
    return [(name, value) for name, value in facts if value]


def title(data: ReportData) -> str:
    """Model and device, as far as they are known."""
    model, device = (_distinct(data.samples, name) for name in ("model", "device"))
    device = device or _devices(data)
    if not model and not device:
        return "Stage latencies"
    return f"{model or 'Stage latencies'} on {device}" if device else model


def _devices(data: ReportData) -> str:
    environment = data.summary.get("environment") or {}
    names = [
        str(d["name"]) if isinstance(d, dict) else str(d) for d in environment.get("devices", ())
    ]
    return ", ".join(sorted(set(names)))


def _distinct(samples: pd.DataFrame, name: str) -> str:
    """The value that all samples share, or how many there are; empty if not known."""
    if name not in samples:
        return ""
    values = [str(value) for value in samples[name].dropna().unique()]
    return values[0] if len(values) == 1 else f"{len(values)} different" if values else ""


def _count_range(samples: pd.DataFrame, name: str) -> str:
    """`17`, or `17 to 64` where samples differ; empty if not known."""
    known = samples[name].dropna().astype(int) if name in samples else ()
    if not len(known):
        return ""
    least, most = int(min(known)), int(max(known))
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"
