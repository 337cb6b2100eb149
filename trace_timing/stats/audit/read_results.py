"""Read result files of wall-clock experiments: unchanged rows, and their figures by known name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from trace_timing.errors import NothingReadError, UsageError, did_you_mean

ROWS = "per_sample_results"
#: Columns that every file must have; all times in ms.
NEEDED = ("output_tokens", "T_vision_total", "T_LLM_prefill", "T_LLM_decode", "T_total")
#: Optional columns.
OPTIONAL = ("sample_id", "T_vit", "T_projector", "T_decode_per_token")
KNOWN = (*OPTIONAL, *NEEDED)

Record = Mapping[str, Any]


@dataclass(frozen=True)
class OlderResults:
    """One file of older results.

    `records` are the rows exactly as read; `figures` has the KNOWN columns of them as numbers
    (sample_id as text), one row a record in the same order, NaN where a record lacks one.
    """

    source: Path
    header: Mapping[str, Any]
    records: tuple[Record, ...]
    figures: pd.DataFrame
    names: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> list[Any]:
        """Values of a column by its known name or by the file's own, one a row.

        Raises:
            UsageError: the file has no such column.
        """
        own = self.names.get(name, name)
        if not any(own in record for record in self.records):
            raise UsageError(
                f"{self.source.name} has no column {name}",
                why=f"it has {', '.join(_columns(self.records))}",
                remedy=f"{did_you_mean(name, _columns(self.records))}name one of these",
            )
        return [_hashable(record.get(own)) for record in self.records]


def read_older(path: Path, names: Mapping[str, str] | None = None) -> OlderResults:
    """Read a JSON object with `per_sample_results`, a JSON list, JSON lines, CSV or Parquet.

    Args:
        names: known name → the file's own column name, where they differ.
    Raises:
        NothingReadError: unreadable, empty, or a needed column is missing or no number.
        UsageError: no such file, or `names` maps a name that the audit does not know.
    """
    names = dict(names or {})
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        raise UsageError(
            f"cannot map {', '.join(unknown)}",
            why=f"the audit reads {', '.join(KNOWN)}",
            remedy=did_you_mean(unknown[0], KNOWN)
            + "write --map KNOWN=COLUMN with one of these on the left",
        )
    header, records = _load(path)
    if not records:
        raise NothingReadError(f"{path} holds no rows", remedy="give a file with results in it")
    return OlderResults(path, header, tuple(records), _figures(path, records, names), names)


def _load(path: Path) -> tuple[dict[str, Any], list[Record]]:
    """The rows of a file of any known format, and what else is in it."""
    try:
        match path.suffix:
            case ".csv":
                return {}, _records(pd.read_csv(path))
            case ".parquet":
                return {}, _records(pd.read_parquet(path))
            case ".jsonl":
                lines = path.read_text("utf-8").splitlines()
                return {}, [json.loads(line) for line in lines if line.strip()]
            case _:
                return _from_json(path)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist", remedy="check the path") from error
    except (OSError, ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        raise NothingReadError(
            f"{path} cannot be read as results",
            why="lists or objects in it are nested too deeply" if deep else _why(path, error),
            remedy=f"give JSON with a list {ROWS}, a JSON list, JSON lines, CSV or Parquet",
        ) from error


def _why(path: Path, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start + 1} is 0x{error.object[error.start]:02x})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _from_json(path: Path) -> tuple[dict[str, Any], list[Record]]:
    data = json.loads(path.read_text("utf-8"))
    header: dict[str, Any] = {}
    if isinstance(data, dict):
        header = {key: value for key, value in data.items() if key != ROWS}
        data = data.get(ROWS)
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise ValueError(f"neither a list of rows nor an object with a list {ROWS}")
    return header, data


def _records(table: pd.DataFrame) -> list[Record]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict(orient="records")]


def _figures(path: Path, records: Sequence[Record], names: Mapping[str, str]) -> pd.DataFrame:
    """The known columns as numbers."""
    present = set(_columns(records))
    missing = [name for name in NEEDED if names.get(name, name) not in present]
    if missing:
        raise NothingReadError(
            f"{path} lacks {', '.join(missing)}",
            why=f"it has {', '.join(_columns(records))}",
            remedy="name the file's columns: --map T_total=total_ms",
        )
    figures: dict[str, list[Any]] = {}
    for name in KNOWN:
        raw = [record.get(names.get(name, name)) for record in records]
        if name == "sample_id":
            figures[name] = [str(i if value is None else value) for i, value in enumerate(raw)]
        else:
            figures[name] = [_number(path, name, value) for value in raw]
    return pd.DataFrame(figures)


def _number(path: Path, name: str, value: object) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NothingReadError(
            f"{path}: {name} holds {value!r}, not a number",
            remedy=f"map another column to it: --map {name}=COLUMN",
        )
    return float(value)


def _columns(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(key for record in records for key in record))


def _hashable(value: object) -> object:
    return json.dumps(value, sort_keys=True) if isinstance(value, (list, dict)) else value
