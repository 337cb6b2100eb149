"""Rows of samples and steps with known lines behind them, for fits and summaries."""

from __future__ import annotations

import pandas as pd

from trace_timing import schema


def sample(i: int, *, steps: int = 3, slow: float = 1.0, reasons: str = "") -> dict[str, object]:
    """A usable sample: prefill grows by 0.02 ms an input token from 10 ms."""
    row: dict[str, object] = {
        f"{name}{kind}_ms": 5.0
        for name in schema.SAMPLE_TIMES
        for kind in ("", "_busy", "_recorded")
    }
    prefill = (10 + 0.02 * (100 + 50 * i)) * slow
    row |= {"sample_id": f"s{i}", "rank": 0, "crops": i + 1, "input_tokens": 100 + 50 * i}
    row |= {"T_LLM_prefill_ms": prefill, "T_LLM_prefill_recorded_ms": 2 * prefill}
    return row | {"decode_steps": steps, "usable": not reasons, "reasons": reasons}


def step_table(samples: pd.DataFrame, *, latency: bool = True) -> pd.DataFrame:
    """Their steps: 4 ms and 1 µs more a position, twice that while recorded."""
    rows = [
        {"sample_id": s["sample_id"], "repeat": 0, "rank": 0, "stage": "decode", "step": k}
        | {"busy_ns": 10**6, "window_ns": 2 * (4 * 10**6 + 10**3 * k), "usable": latency}
        | {"recorded": True}
        | {"latency_ns": 4 * 10**6 + 10**3 * k if latency else None}
        | {"kv_length": s["input_tokens"] + k}
        for s in samples.to_dict("records")
        for k in range(1, int(s["decode_steps"]) + 1)
    ]
    return pd.DataFrame(rows).astype({"latency_ns": "Int64"})
