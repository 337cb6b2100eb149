"""Older results with known errors: made of a capture's own latencies, errors stated here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.api.made_captures import OLDER
from trace_timing.api.analysis.analyze import analyze

#: ms added to the capture's latencies. The short sample's prefill is so wrong that decode clamps.
ERRORS: dict[str, dict[str, float]] = {
    "short": {"T_vision_total": 2.0, "T_LLM_prefill": 100.0, "T_total": -1.0},
    "medium": {"T_vision_total": 2.0, "T_LLM_prefill": 5.0, "T_total": -1.0},
    "long": {"T_vision_total": 2.0, "T_LLM_prefill": 5.0, "T_total": -1.0},
}


def older_file(folder: Path) -> Path:
    """Rows of the older capture as a wall-clock experiment would have left them, in `folder`."""
    rows = []
    for run in analyze(OLDER).samples.to_dict("records"):
        row = {name: run[f"{name}_ms"] + error for name, error in ERRORS[run["sample_id"]].items()}
        decode = max(0.0, row["T_total"] - row["T_vision_total"] - row["T_LLM_prefill"])
        tokens = int(run["output_tokens"])
        row |= {"T_LLM_decode": decode, "T_decode_per_token": decode / tokens}
        rows.append({"sample_id": run["sample_id"], "output_tokens": tokens, **row})
    path = folder / "older.json"
    path.write_text(json.dumps({"tier": "high", "per_sample_results": rows}))
    return path


def row(tokens: int, total: float, vision: float, prefill: float, **more: Any) -> dict[str, Any]:
    """One row, decode made by clamped subtraction."""
    decode = max(0.0, total - vision - prefill)
    return {
        "output_tokens": tokens,
        "T_vision_total": vision,
        "T_LLM_prefill": prefill,
        "T_LLM_decode": decode,
        "T_total": total,
        "T_decode_per_token": decode / tokens,
        **more,
    }


def known_rows() -> list[dict[str, Any]]:
    """2,000 rows with the properties of a known file: 457 negative, −53.13 … −0.04, mean −21.73."""
    rng = np.random.default_rng(6)
    inner = rng.uniform(0.05, 53.0, 455)
    wanted = 457 * 21.73 - 53.13 - 0.04
    # Pull the mean to the one wanted without leaving the range: scale toward the lower end.
    inner = 0.05 + (inner - 0.05) * (wanted - 455 * 0.05) / (inner - 0.05).sum()
    negative = rng.permutation(np.arange(1, 2_000))[:456]
    shortfall = dict(zip(negative.tolist(), [0.04, *inner.tolist()], strict=True))
    rows = [row(4, 335.32, 181.28, 207.17)]
    for i in range(1, 2_000):
        difference = -shortfall[i] if i in shortfall else float(rng.uniform(40, 400))
        vision, prefill = float(rng.uniform(60, 200)), float(rng.uniform(100, 220))
        rows.append(row(int(rng.integers(2, 20)), vision + prefill + difference, vision, prefill))
    return rows
