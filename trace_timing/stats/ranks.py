"""Ranks of one sample side by side: which was slowest, and how long the others waited for it.

Never tiled together: each rank has its own window, and collectives make the fast wait for the slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def slowest_ranks(stages: pd.DataFrame, communication: pd.DataFrame) -> pd.DataFrame:
    """One row a sample, repeat and stage that several ranks ran.

    The slowest rank is the one that is busy longest with work of its own: windows hardly differ
    between ranks that wait for each other, and the slow one waits least in collectives.

    Args:
        stages: schema.STAGES; communication: schema.COMMUNICATION.
    Returns:
        sample_id, repeat, stage, ranks, slowest_rank, own_ns (its busy time outside exposed
        collectives), spread_ns (that less the fastest rank's), by sample, repeat and stage.
    """
    key = ["sample_id", "repeat", "rank", "stage"]
    exposed = communication.groupby(key)["exposed_ns"].max().rename("exposed_ns").reset_index()
    rows = stages.dropna(subset=["busy_ns"]).merge(exposed, on=key, how="left")
    rows["own_ns"] = rows["busy_ns"] - rows["exposed_ns"].fillna(0)
    by_stage = rows.groupby(["sample_id", "repeat", "stage"], sort=True)
    slowest = rows.loc[by_stage["own_ns"].idxmax()].set_index(["sample_id", "repeat", "stage"])
    spread = by_stage["own_ns"].max() - by_stage["own_ns"].min()
    found = slowest[["rank", "own_ns"]].rename(columns={"rank": "slowest_rank"})
    found.insert(0, "ranks", by_stage["rank"].nunique())
    found["spread_ns"] = spread
    return found[found["ranks"] > 1].astype("int64").reset_index()
