"""Rows of runs and steps with known lines behind them, for labels and fits."""

from __future__ import annotations

import pandas as pd

from trace_timing.stats.labels import TARGETS


def run(
    i: int, repeat: int, *, steps: int = 3, slow: float = 1.0, doubts: str = ""
) -> dict[str, object]:
    prefill = (10 + 0.02 * (100 + 50 * i)) * slow
    row: dict[str, object] = {f"{t}{k}_ms": 5.0 + repeat for t in TARGETS for k in ("", "_busy")}
    row |= {"sample_id": f"s{i}", "repeat": repeat, "rank": 0, "crops": i + 1}
    row |= {"T_LLM_prefill_ms": prefill, "T_total_ms": 5 * prefill, "input_tokens": 100 + 50 * i}
    row |= {"output_tokens": steps + 1, "decode_steps": steps, "doubts": doubts, "laws_hold": True}
    return row | ({"T_decode_per_token_ms": None} if steps == 0 else {})


def step_table(samples: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {"sample_id": s["sample_id"], "repeat": s["repeat"], "rank": 0, "stage": "decode"}
        | {"step": k, "busy_ns": 10**6, "interval_ns": None}
        | {"window_ns": 4 * 10**6 + 10**3 * k}
        for s in samples.to_dict("records")
        for k in range(1, int(s["decode_steps"]) + 1)
    ]
    return pd.DataFrame(rows)
