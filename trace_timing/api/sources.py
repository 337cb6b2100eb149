"""Paths, globs, directories and URLs → the traces to analyse, joined with their run records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec

from trace_timing.errors import TraceError
from trace_timing.records import (
    MANIFEST_NAME,
    TRACES_DIR,
    Manifest,
    Rejection,
    RunRecord,
    decode_manifest,
    decode_run_record,
)
from trace_timing.stats.trace_result import TraceSource
from trace_timing.trace.reading import KINETO_ENDINGS, STORE_ENDING

_ENDINGS = (*KINETO_ENDINGS, STORE_ENDING)


@dataclass(frozen=True)
class Inputs:
    """What there is to analyse, what is refused before it is opened, and what it came with."""

    sources: tuple[TraceSource, ...]
    rejections: tuple[Rejection, ...]
    manifests: tuple[Manifest, ...]
    #: Every control record of the capture directories, also of samples without a trace.
    controls: tuple[RunRecord, ...]


def find_inputs(paths: Iterable[str]) -> Inputs:
    """Resolve what the user named: files, globs, directories, capture directories, URLs."""
    found = [_one(str(path)) for path in paths]
    sources = [s for item in found for s in item.sources]
    return Inputs(
        tuple(_distinct(sources)),
        tuple(r for item in found for r in item.rejections),
        tuple(m for item in found for m in item.manifests),
        tuple(c for item in found for c in item.controls),
    )


def _one(path: str) -> Inputs:
    try:
        fs, inner = fsspec.core.url_to_fs(path)
        if any(c in path for c in "*?[") and not fs.exists(inner):
            return _files(fs, sorted(fs.glob(inner)), path)
        if not fs.exists(inner):
            return _refused(path, "no such file or directory", "check the path")
        if fs.isdir(inner):
            return _directory(fs, inner, path)
        return _files(fs, [inner], path)
    except (OSError, ValueError, ImportError) as error:
        return _refused(path, str(error) or type(error).__name__, "check the path or URL")


def _refused(source: str, reason: str, remedy: str) -> Inputs:
    return Inputs((), (Rejection(source=source, reason=reason, remedy=remedy),), (), ())


def _directory(fs: Any, inner: str, path: str) -> Inputs:
    if fs.exists(f"{inner}/{MANIFEST_NAME}"):
        return _capture_directory(fs, inner)
    files = sorted(f for f in fs.find(inner) if f.endswith(_ENDINGS))
    if not files:
        return _refused(
            path,
            f"no trace in it (files ending in {', '.join(_ENDINGS)})",
            "name a directory that holds traces",
        )
    return _files(fs, files, path)


def _files(fs: Any, files: Sequence[str], path: str) -> Inputs:
    if not files:
        return _refused(path, "matches no file", "check the pattern")
    sources = [
        TraceSource(location=fs.unstrip_protocol(f), name=_base(f), sample_id=_stem(f))
        for f in files
    ]
    return Inputs(tuple(sources), (), (), ())


def _capture_directory(fs: Any, inner: str) -> Inputs:
    try:
        manifest = decode_manifest(fs.cat_file(f"{inner}/{MANIFEST_NAME}"), source=MANIFEST_NAME)
    except TraceError as error:
        return _refused(MANIFEST_NAME, str(error), error.remedy)
    rejections: list[Rejection] = []
    records: list[RunRecord] = []
    for file in sorted(fs.glob(f"{inner}/runs.rank*.jsonl")):
        for number, line in enumerate(fs.cat_file(file).splitlines(), 1):
            read = _record(line, f"{_base(file)} line {number}")
            (records if isinstance(read, RunRecord) else rejections).append(read)  # type: ignore[arg-type]
    latest = {_identity(r): r for r in records}.values()
    controls: dict[str, list[RunRecord]] = {}
    for record in latest:
        if record.role == "control":
            controls.setdefault(record.sample_id, []).append(record)
    sources: list[TraceSource] = []
    for record in latest:
        if record.status == "failed" and record.role == "recorded":
            rejections.append(
                Rejection(
                    source=record.sample_id,
                    reason=f"its run failed: {record.reason}",
                    remedy="capture it again with --resume",
                )
            )
        elif record.role == "recorded":
            mine = controls.get(record.sample_id, [])
            sources.append(replace(_recorded(fs, inner, record, mine), manifest=manifest))
    rejections += _failed_samples(latest)
    every = tuple(r for r in latest if r.role == "control")
    return Inputs(tuple(sources), tuple(rejections), (manifest,), every)


def _failed_samples(records: Iterable[RunRecord]) -> list[Rejection]:
    """Samples that failed in their controls and have no other run."""
    known = {r.sample_id for r in records if r.status == "ok" or r.role == "recorded"}
    failed = {r.sample_id: r.reason for r in records if r.sample_id not in known}
    return [
        Rejection(
            source=sample_id,
            reason=f"its control failed: {reason}",
            remedy="capture it again with --resume",
        )
        for sample_id, reason in failed.items()
    ]


def _identity(record: RunRecord) -> tuple[object, ...]:
    """What a later line of the same run (a retry) shares with the earlier one."""
    which = (record.control.index, record.control.cupti) if record.control else ()
    return (record.sample_id, record.repeat, record.rank, record.role, *which)


def _record(line: bytes, source: str) -> RunRecord | Rejection:
    try:
        return decode_run_record(line, source=source)
    except TraceError as error:
        return Rejection(source=source, reason=error.why or error.what, remedy=error.remedy)


def _recorded(fs: Any, inner: str, record: RunRecord, controls: Sequence[RunRecord]) -> TraceSource:
    # The store first: the same run, read faster. Both of one run count once.
    stem = f"{inner}/{TRACES_DIR}/{record.trace}"
    candidates = [stem + ending for ending in (STORE_ENDING, *reversed(KINETO_ENDINGS))]
    file = next((c for c in candidates if fs.exists(c)), candidates[1])
    return TraceSource(
        location=fs.unstrip_protocol(file),
        name=f"{TRACES_DIR}/{_base(file)}",
        sample_id=record.sample_id,
        repeat=record.repeat,
        rank=record.rank,
        record=record,
        controls=tuple(controls),
    )


def kineto_file(source: TraceSource) -> Path | None:
    """The Kineto file of a trace on this machine, also where analysis reads its compact store.

    None where there is none: of a capture with --keep store, or behind a URL.
    """
    path = Path(source.local)
    stem = path.name.removesuffix(STORE_ENDING)
    beside = [path.with_name(stem + ending) for ending in reversed(KINETO_ENDINGS)]
    candidates = beside if path.name.endswith(STORE_ENDING) else [path]
    return next((file for file in candidates if file.is_file()), None)


def _distinct(sources: Sequence[TraceSource]) -> list[TraceSource]:
    """Each file once; two files of other people's with one name keep their folders in the id."""
    unique = list({s.location: s for s in sources}.values())
    names = Counter(s.sample_id for s in unique if s.record is None)
    return [
        replace(s, sample_id=_long_stem(s.location))
        if s.record is None and names[s.sample_id] > 1
        else s
        for s in unique
    ]


def _base(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def _stem(path: str) -> str:
    base = _base(path)
    return next((base[: -len(e)] for e in reversed(_ENDINGS) if base.endswith(e)), base)


def _long_stem(path: str) -> str:
    folder = _base(path.rstrip("/").rsplit("/", 1)[0])
    return f"{folder}/{_base(path)}"
