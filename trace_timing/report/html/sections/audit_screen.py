"""First screen of an audit that has a capture to compare with: older figures beside captured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trace_timing.report.findings import ms, plus_minus
from trace_timing.report.html.copy_text import copy_texts
from trace_timing.report.html.first_screen import FirstScreen, draw_bars
from trace_timing.report.html.tiles import Bar, Tile, source_of
from trace_timing.report.latency_rows import LatencyRow, half_frac
from trace_timing.report.main_finding import MainFinding
from trace_timing.report.model import OlderFigure
from trace_timing.report.trust import TrustLine
from trace_timing.stages import Stage
from trace_timing.stats.audit.against_capture import Against
from trace_timing.stats.audit.audit import AuditResult

if TYPE_CHECKING:
    import pandas as pd

#: Time of the older results → slug, label, glossary word, stage whose colour it has.
_FIGURES: dict[str, tuple[str, str, str, Stage | None]] = {
    "T_vision_total": ("vision", "Vision", "vision", "vision"),
    "T_LLM_prefill": ("prefill", "Prefill", "prefill", "prefill"),
    "T_LLM_decode": ("decode", "Decode and the rest", "older", "decode"),
    "T_total": ("total", "Total", "total", None),
}


def audit_screen(result: AuditResult, against: Against, samples: pd.DataFrame) -> FirstScreen:
    """The first screen of one audited file.

    Args:
        samples: schema.SAMPLES of the capture.
    """
    mine = samples[samples["sample_id"].astype(str).isin({r.sample_id for r in against.rows})]
    shown = [name for name in _FIGURES if any(r.figure == name for r in against.rows)]
    tiles = [_tile(name, result, against, mine) for name in shown]
    bars = [_bar(name, tile, mine) for name, tile in zip(shown, tiles, strict=True)]
    drawn, ticks = draw_bars(bars)
    return FirstScreen(
        title=f"{result.source} against {against.source}",
        measured=[
            ("rows", f"{result.rows:,}"),
            ("valid", f"{result.valid:,}"),
            ("in both", f"{against.matched:,}"),
        ],
        tiles=tiles,
        trust=_trust(result),
        warnings=(),
        warning_count=0,
        finding=_finding(result),
        bars=drawn,
        ticks=ticks,
        copies=copy_texts(bars, tiles),
        caption=f"Medians over the {against.matched:,} samples that both have. The older decode is "
        "what is left of the total, so it stands against decode, sampling and rest.",
        is_recorded=against.basis == "recorded",
    )


def older_figures(result: AuditResult, against: Against) -> dict[str, OlderFigure]:
    """Older figures by time: medians over the samples in both."""
    figures = {}
    for name in _FIGURES:
        if values := [row.older_ms for row in against.rows if row.figure == name]:
            figures[name] = _older(name, result, values)
    return figures


def _tile(name: str, result: AuditResult, against: Against, samples: pd.DataFrame) -> Tile:
    """The captured median of one time, with the older one beside it."""
    slug, label, word, _ = _FIGURES[name]
    rows = [row for row in against.rows if row.figure == name]
    value = float(np.median([row.captured_ms for row in rows]))
    source, source_word = source_of(samples)
    # The older decode contains sampling and rest, so decode's own interval is not its interval.
    has_interval = f"{name}_ms" in samples and name != "T_LLM_decode"
    return Tile(
        slug=slug,
        label=label,
        word=word,
        ms=value,
        figure=ms(value),
        plus_minus=plus_minus(half_frac(samples, name)) if has_interval else "",
        lines=(),
        source=source,
        source_word=source_word,
        summary=f"median of {len(rows):,} samples" if len(rows) > 1 else "",
        older=_older(name, result, [row.older_ms for row in rows]),
    )


def _older(name: str, result: AuditResult, values: list[float]) -> OlderFigure:
    """The older median; for decode also the most negative row, as it was before clamping."""
    middle = float(np.median(values))
    negative = ""
    if name == "T_LLM_decode" and result.negatives:
        worst = min(result.negatives, key=lambda row: row.difference_ms)
        negative = (
            f"down to {ms(worst.difference_ms).replace('-', '−')} before clamping "
            f"({worst.sample_id})"
        )
    return OlderFigure(
        figure=ms(middle).replace("-", "−"), ms=middle, samples=len(values), negative=negative
    )


def _bar(name: str, tile: Tile, samples: pd.DataFrame) -> Bar:
    """The bar of one time, as long as its tile says."""
    _, label, _, stage = _FIGURES[name]
    has_interval = name != "T_LLM_decode"
    measured = samples[samples["latency_source"] != "recorded"]
    ends = [
        float(measured[f"{name}_{end}_ms"].median()) if has_interval and len(measured) else None
        for end in ("lo", "hi")
    ]
    row = LatencyRow(
        time=name,
        label=label,
        stage=stage,
        samples=len(samples),
        ms=tile.ms or 0.0,
        half_frac=half_frac(samples, name) if has_interval else None,
        low_ms=ends[0],
        high_ms=ends[1],
        busy_ms=None,
        busy_is_estimate=False,
        idle_frac=None,
        share_frac=None,
    )
    return Bar(row=row, is_part=False, limit="unknown", older=tile.older)


def _trust(result: AuditResult) -> TrustLine:
    """How many older rows are valid, as a sentence."""
    negative = len(result.negatives)
    if result.valid == result.rows:
        return TrustLine("good", f"All {result.rows:,} older rows are valid.")
    text = f"Not valid: {result.rows - result.valid:,} of {result.rows:,} older rows"
    if negative:
        text += f"; in {negative:,} vision and prefill together exceed the total"
    return TrustLine("bad", f"{text}.")


def _finding(result: AuditResult) -> MainFinding | None:
    """The arithmetic of the most negative row; None where no row is negative."""
    if not result.negatives:
        return None
    worst = min(result.negatives, key=lambda row: row.difference_ms)
    return MainFinding(
        limit="unknown",
        stage="decode",
        headline="Subtraction went below zero",
        evidence=f"Sample {worst.sample_id}: {worst.total_ms:,.2f} − {worst.vision_ms:,.2f} − "
        f"{worst.prefill_ms:,.2f} = {worst.difference_ms:,.2f} ms, written as "
        f"{worst.recorded_ms:,.2f} ms".replace("= -", "= −")
        + ".",
        next_step="take the captured figures as labels, or leave out the rows that are not valid",
    )
