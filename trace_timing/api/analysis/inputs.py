"""Find the traces to analyse from paths, globs, directories and URLs, with their run records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec

from trace_timing.errors import TraceError
from trace_timing.records.findings import Rejection
from trace_timing.records.manifest import MANIFEST_NAME, TRACES_DIR, Manifest, decode_manifest
from trace_timing.records.runs import RunRecord, decode_run_record
from trace_timing.stats.latency.evidence import Capture
from trace_timing.stats.trace.trace_result import TraceSource
from trace_timing.trace.files.reading import KINETO_ENDINGS, STORE_ENDING

_ENDINGS = (*KINETO_ENDINGS, STORE_ENDING)


@dataclass(frozen=True)
class Inputs:
    """The traces to analyse, those rejected unopened, and the captures that they come from."""

    sources: tuple[TraceSource, ...]
    rejections: tuple[Rejection, ...]
    captures: tuple[Capture, ...]

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """The manifests of the capture directories among the inputs."""
        return tuple(capture.manifest for capture in self.captures)


def find_inputs(paths: Iterable[str]) -> Inputs:
    """Find the traces of files, globs, directories, capture directories and URLs."""
    found = _captures_apart([_one(str(path)) for path in paths])
    sources = [s for item in found for s in item.sources]
    captures = tuple(c for item in found for c in item.captures)
    taken = {r.sample_id for c in captures for r in (*c.recorded, *c.controls)}
    return Inputs(
        tuple(_distinct(sources, taken)),
        tuple(r for item in found for r in item.rejections),
        captures,
    )


def _one(path: str) -> Inputs:
    """The inputs of one path, glob or URL."""
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
    return Inputs((), (Rejection(source=source, reason=reason, remedy=remedy),), ())


def _directory(fs: Any, inner: str, path: str) -> Inputs:
    """The inputs of a capture directory, or of the trace files in any other."""
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
    return Inputs(tuple(sources), (), ())


def _capture_directory(fs: Any, inner: str) -> Inputs:
    """The traces of a capture by its records; failed runs are rejected."""
    try:
        manifest = decode_manifest(fs.cat_file(f"{inner}/{MANIFEST_NAME}"), source=MANIFEST_NAME)
    except TraceError as error:
        return _refused(MANIFEST_NAME, str(error), error.remedy)
    rejections: list[Rejection] = []
    records: list[RunRecord] = []
    for file in sorted(fs.glob(f"{inner}/runs.rank*.jsonl")):
        # Line by line, since the text of thousands of records takes as much memory as they do.
        with fs.open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                read = _record(line.rstrip(b"\r\n"), f"{_base(file)} line {number}")
                (records if isinstance(read, RunRecord) else rejections).append(read)  # type: ignore[arg-type]
    latest = _numbered_through(tuple({_identity(r): r for r in records}.values()))
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
            sources.append(replace(_recorded(fs, inner, record), manifest=manifest))
    rejections += _failed_samples(latest)
    capture = Capture(
        folder=fs.unstrip_protocol(inner),
        manifest=manifest,
        controls=tuple(r for r in latest if r.role == "control"),
        recorded=tuple(r for r in latest if r.role == "recorded"),
    )
    return Inputs(tuple(sources), tuple(rejections), (capture,))


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
    """The key that a run's record shares with that of a later retry."""
    which = (record.control.index, record.control.cupti) if record.control else ()
    return (record.sample_id, record.repeat, record.rank, record.role, *which)


def _numbered_through(records: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """The records, with controls renumbered in the order made.

    Format version 1 numbers those before the first session separately, and so does a resumed
    capture.
    """
    numbers = Counter((r.sample_id, r.rank, r.control.index) for r in records if r.control)
    if not any(count > 1 for count in numbers.values()):
        return records
    made: Counter[tuple[str, int]] = Counter()
    numbered = []
    for record in records:
        if record.control:
            key = (record.sample_id, record.rank)
            control = replace(record.control, index=made[key])
            made[key] += 1
            record = replace(record, control=control)
        numbered.append(record)
    return numbered


def _record(line: bytes, source: str) -> RunRecord | Rejection:
    try:
        return decode_run_record(line, source=source)
    except TraceError as error:
        return Rejection(source=source, reason=error.why or error.what, remedy=error.remedy)


def _recorded(fs: Any, inner: str, record: RunRecord) -> TraceSource:
    """The trace that belongs to a record."""
    # The store first: the same run, but faster to read.
    stem = f"{inner}/{TRACES_DIR}/{record.trace}"
    # A file without a sha256 in the record does not belong to it.
    endings = (STORE_ENDING, *reversed(KINETO_ENDINGS))
    own = [ending for ending in endings if ending[1:] in record.sha256]
    candidates = [stem + ending for ending in own or endings[:2]]
    file = next((c for c in candidates if fs.exists(c)), candidates[-1])
    return TraceSource(
        location=fs.unstrip_protocol(file),
        name=f"{TRACES_DIR}/{_base(file)}",
        sample_id=record.sample_id,
        repeat=record.repeat,
        rank=record.rank,
        record=record,
    )


def kineto_file(source: TraceSource) -> Path | None:
    """The local Kineto file of a trace, also where analysis reads its compact store.

    None where there is none: in a capture with --keep store, or behind a URL.
    """
    path = Path(source.local)
    stem = path.name.removesuffix(STORE_ENDING)
    beside = [path.with_name(stem + ending) for ending in reversed(KINETO_ENDINGS)]
    candidates = beside if path.name.endswith(STORE_ENDING) else [path]
    return next((file for file in candidates if file.is_file()), None)


def _captures_apart(found: Sequence[Inputs]) -> list[Inputs]:
    """Each capture once; sample ids that two of them share get the captures' folders as prefix."""
    once = {capture.folder: item for item in found for capture in item.captures}
    known = [item for item in found if not item.captures]
    captured = list(once.values())
    ids = [{r.sample_id for r in (*c.recorded, *c.controls)} for i in captured for c in i.captures]
    several = Counter(name for names in ids for name in names)
    folders = _names_apart(list(once))
    return known + [
        _in_folder(item, folders[location], {n for n in names if several[n] > 1})
        for (location, item), names in zip(once.items(), ids, strict=True)
    ]


def _in_folder(found: Inputs, folder: str, shared: Collection[str]) -> Inputs:
    """The inputs of one capture, with the folder's name as prefix of shared ids and its traces."""

    def renamed(record: RunRecord) -> RunRecord:
        if record.sample_id not in shared:
            return record
        return replace(record, sample_id=f"{folder}/{record.sample_id}")

    def moved(source: TraceSource) -> TraceSource:
        assert source.record is not None
        record = renamed(source.record)
        name = f"{folder}/{source.name}"
        return replace(source, name=name, sample_id=record.sample_id, record=record)

    if not shared:
        return found
    (capture,) = found.captures
    capture = replace(
        capture,
        controls=tuple(renamed(r) for r in capture.controls),
        recorded=tuple(renamed(r) for r in capture.recorded),
    )
    return replace(found, sources=tuple(moved(s) for s in found.sources), captures=(capture,))


def _distinct(sources: Sequence[TraceSource], taken: Collection[str]) -> list[TraceSource]:
    """Each file once, with its record if it has one; equal file names get their folders as prefix.

    Args:
        taken: ids of the captures' samples.
    """
    unique: dict[str, TraceSource] = {}
    for source in sources:
        known = unique.get(source.location)
        if known is None or known.record is None:
            unique[source.location] = source
    names = Counter(s.sample_id for s in unique.values() if s.record is None)
    alike = [
        s.location
        for s in unique.values()
        if s.record is None and (names[s.sample_id] > 1 or s.sample_id in taken)
    ]
    ids = _names_apart(alike, least=2)
    return [replace(s, sample_id=ids.get(s.location, s.sample_id)) for s in unique.values()]


def _names_apart(locations: Sequence[str], *, least: int = 1) -> dict[str, str]:
    """The last `least` names of each path, or as many as make them distinct."""
    parts = {location: location.rstrip("/").split("/") for location in locations}
    for depth in range(least, max(map(len, parts.values()), default=0) + 1):
        names = {location: "/".join(some[-depth:]) for location, some in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {location: location for location in locations}


def _base(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def _stem(path: str) -> str:
    base = _base(path)
    return next((base[: -len(e)] for e in reversed(_ENDINGS) if base.endswith(e)), base)
