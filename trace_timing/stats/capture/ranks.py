"""Ranks of one sample side by side: which was slowest, and how far apart they began and ended.

Never tiled together: each rank has its own window, and collectives make the fast wait for the slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_RUN = ["sample_id", "repeat"]


def compare_ranks(
    stages: pd.DataFrame, communication: pd.DataFrame, spans: pd.DataFrame
) -> pd.DataFrame:
    """One row a sample, repeat and stage that several ranks ran, what is unattributed left out.

    The slowest rank is the one that is busy longest with work of its own: windows hardly differ
    between ranks that wait for each other. The awaited one waits least in collectives. They are
    two where a rank's host is late with launches that take its device no longer than others'.

    Ranks are aligned where each says when it was and all of them were at work at one instant:
    otherwise they did not run together, or their clocks are not one, and nothing is said.

    Args:
        stages: schema.STAGES; communication: schema.COMMUNICATION; spans: schema.SPANS.
    Returns:
        schema.RANKS, by sample, repeat and stage.
    """
    key = [*_RUN, "rank", "stage"]
    exposed = communication.groupby(key)["exposed_ns"].max().rename("exposed_ns").reset_index()
    # What is unattributed has kernels and no busy time to take its collectives from.
    told = stages[stages["stage"] != "unattributed"]
    # Of a stage recorded in part, what its recorded steps come to, as its collectives do.
    part = (told["busy_per_step_ns"] * told["recorded_steps"]).astype("Float64").round()
    told = told.assign(busy_ns=told["busy_ns"].fillna(part.astype("Int64")))
    told = told.dropna(subset=["busy_ns"])
    rows = told[[*key, "busy_ns"]].merge(exposed, on=key, how="left")
    rows["own_ns"] = rows["busy_ns"] - rows["exposed_ns"].fillna(0)
    by_stage = rows.groupby([*_RUN, "stage"], sort=True)
    slowest = rows.loc[by_stage["own_ns"].idxmax()].set_index([*_RUN, "stage"])
    found = slowest[["rank", "own_ns"]].rename(columns={"rank": "slowest_rank"})
    found.insert(0, "ranks", by_stage["rank"].nunique())
    found["spread_ns"] = by_stage["own_ns"].max() - by_stage["own_ns"].min()
    found = found[found["ranks"] > 1].astype("int64").join(_awaited(exposed)).reset_index()
    return found.merge(_apart(spans), on=[*_RUN, "stage", "ranks"], how="left")


def _awaited(exposed: pd.DataFrame) -> pd.DataFrame:
    """The rank that waits least in collectives, and how much longer another does."""
    by_stage = exposed.groupby([*_RUN, "stage"])
    least = exposed.loc[by_stage["exposed_ns"].idxmin()].set_index([*_RUN, "stage"])
    out = least[["rank"]].rename(columns={"rank": "awaited_rank"})
    out["wait_spread_ns"] = by_stage["exposed_ns"].max() - by_stage["exposed_ns"].min()
    return out[by_stage["rank"].nunique() > 1].astype("Int64")


def _apart(spans: pd.DataFrame) -> pd.DataFrame:
    """Between the first rank and the last: begins, ends; only of ranks that ran at one time."""
    times = ["begin_unix_ns", "end_unix_ns"]
    run = spans.groupby([*_RUN, "rank"]).agg({times[0]: "min", times[1]: "max"}).groupby(_RUN)
    together = (run[times[0]].max() < run[times[1]].min()).rename("together").reset_index()
    rows = spans.merge(together[together["together"]], on=_RUN)
    by_stage = rows.groupby([*_RUN, "stage"])
    out = by_stage["rank"].nunique().rename("ranks").to_frame()
    out["begins_apart_ns"], out["ends_apart_ns"] = (
        (by_stage[time].max() - by_stage[time].min()).astype("Int64") for time in times
    )
    last = rows.loc[by_stage[times[1]].idxmax()].set_index([*_RUN, "stage"])
    out["last_rank"] = last["rank"].astype("Int64")
    return out.reset_index()
