"""Compare the ranks of a run: which was slowest, and how far apart they began and ended.

Each rank keeps its own tiling and window. Windows hardly differ, for in collectives fast ranks wait
for slow ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_RUN = ["sample_id", "repeat"]


def compare_ranks(
    stages: pd.DataFrame, communication: pd.DataFrame, spans: pd.DataFrame
) -> pd.DataFrame:
    """One row for each sample, repeat and stage that several ranks ran; `unattributed` left out.

    The slowest rank is busy longest outside collectives; the awaited rank waits least in them. The
    two differ where a rank's host launches late work that takes its device no longer than others'.

    Begins and ends are compared where all ranks have absolute times and ran at one instant; else
    they did not run together or do not share a clock, and these columns are null.

    Args:
        stages: schema.STAGES; communication: schema.COMMUNICATION; spans: schema.SPANS.
    Returns:
        schema.RANKS, by sample, repeat and stage.
    """
    key = [*_RUN, "rank", "stage"]
    exposed = communication.groupby(key)["exposed_ns"].max().rename("exposed_ns").reset_index()
    # `unattributed` may have kernels without busy time.
    known = stages[stages["stage"] != "unattributed"]
    # Collectives of a partly recorded stage are those of its recorded steps, so its busy time too.
    part = (known["busy_per_step_ns"] * known["recorded_steps"]).astype("Float64").round()
    known = known.assign(busy_ns=known["busy_ns"].fillna(part.astype("Int64")))
    known = known.dropna(subset=["busy_ns"])
    rows = known[[*key, "busy_ns"]].merge(exposed, on=key, how="left")
    rows["own_ns"] = rows["busy_ns"] - rows["exposed_ns"].fillna(0)
    by_stage = rows.groupby([*_RUN, "stage"], sort=True)
    slowest = rows.loc[by_stage["own_ns"].idxmax()].set_index([*_RUN, "stage"])
    compared = slowest[["rank", "own_ns"]].rename(columns={"rank": "slowest_rank"})
    compared.insert(0, "ranks", by_stage["rank"].nunique())
    compared["spread_ns"] = by_stage["own_ns"].max() - by_stage["own_ns"].min()
    compared = compared[compared["ranks"] > 1].astype("int64").join(_awaited(exposed)).reset_index()
    return compared.merge(_apart(spans), on=[*_RUN, "stage", "ranks"], how="left")


def _awaited(exposed: pd.DataFrame) -> pd.DataFrame:
    """The rank that waits least in collectives, and how much longer the last one waits."""
    by_stage = exposed.groupby([*_RUN, "stage"])
    least = exposed.loc[by_stage["exposed_ns"].idxmin()].set_index([*_RUN, "stage"])
    out = least[["rank"]].rename(columns={"rank": "awaited_rank"})
    out["wait_spread_ns"] = by_stage["exposed_ns"].max() - by_stage["exposed_ns"].min()
    return out[by_stage["rank"].nunique() > 1].astype("Int64")


def _apart(spans: pd.DataFrame) -> pd.DataFrame:
    """Ns between the first and the last rank's begin, and their ends; of ranks that overlap."""
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
