"""Captures of a tiny model on the CPU that are killed, stopped, filled up or made twice.

    python -m benchmarks.fault_captures DIRECTORY              # every fault
    python -m benchmarks.fault_captures DIRECTORY --kills 20 --only kill

One process loads the model and forks a child for each attempt, so that a fault at a random instant
costs no start of the interpreter. Every attempt but the first goes on from what the one before
left. Prints a row a fault; exit code 1 if anything was lost, doubled or mixed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from benchmarks.fault_tally import Damage, Tally, table
from benchmarks.small_disk import remount, small_disk
from trace_timing.api.capture.capture import capture
from trace_timing.api.capture.sample_loop import SampleLoop, capture_samples
from trace_timing.errors import EXIT_USAGE, TraceTimingError
from trace_timing.recording.model.loading import Loaded, ModelChoice, load
from trace_timing.recording.samples import Sample

SAMPLES = [
    Sample(id=f"s{i}", images=(Image.new("RGB", (8, 8)),), prompt="x", max_new_tokens=2)
    for i in range(12)
]
#: Exit code of a child that failed in another way than the project's own.
_BROKEN = 77
Key = tuple[object, ...]


def child(directory: Path, loaded: Loaded, *, stepping: bool = False) -> int:
    """Fork a capture that resumes in the folder, and return the child's id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        # Ignored where this was started in the background of a shell.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if stepping:
            time.time, time.time_ns = _stepping_clock()
        resume = (directory / "runs.rank0.jsonl").exists()
        options = {"order": "controls-first", "warm_up": False, "resume": resume}
        with capture(directory, loaded.model, **options) as session:
            for _ in capture_samples(
                session, SAMPLES, loaded.model, loaded.processor, SampleLoop()
            ):
                pass
        os._exit(0)
    except TraceTimingError as error:
        print(f"    {error.what}: {error.why}", file=sys.stderr, flush=True)
        os._exit(EXIT_USAGE)
    except KeyboardInterrupt:
        os._exit(130)
    except BaseException as error:
        print(f"    {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(_BROKEN)


def _stepping_clock() -> tuple[Callable[[], float], Callable[[], int]]:
    """A wall clock that jumps by up to eleven days, forth and back, at every look."""
    chance, real = random.Random(5), time.time
    return (
        lambda: real() + chance.uniform(-1e6, 1e6),
        lambda: int((real() + chance.uniform(-1e6, 1e6)) * 1e9),
    )


def ended(pid: int) -> int:
    """Exit code of a child; the signal's number below 0."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def records_in(directory: Path) -> list[dict[str, object]]:
    """The records of runs that are ok, from whole lines only."""
    path = directory / "runs.rank0.jsonl"
    text = path.read_bytes() if path.exists() else b""
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    return [r for r in map(json.loads, lines) if r["status"] == "ok"]


def key_of(record: dict[str, object]) -> Key:
    """Key of a run; for a control with its number within the sample."""
    control = record["control"] if isinstance(record["control"], dict) else {}
    names = ("sample_id", "role", "repeat", "rank")
    return (*(record[name] for name in names), control.get("bare"), control.get("index"))


def damage_of(directory: Path, seen: set[Key]) -> Damage:
    """What is wrong with a capture as it stands; `seen` grows by the runs that are there."""
    records = records_in(directory)
    keys = [key_of(record) for record in records]
    found = Damage(lost=len(seen - set(keys)), doubled=len(keys) - len(set(keys)))
    seen |= set(keys)
    for record in records:
        digests = record["sha256"]
        for ending, digest in digests.items() if isinstance(digests, dict) else ():
            path = directory / "traces" / f"{record['trace']}.{ending}"
            if not path.exists():
                found.lost += 1
            elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                found.mixed += 1
    return found


def completed(directory: Path, loaded: Loaded, expected: set[Key], seen: set[Key]) -> Damage:
    """Let the capture end, and compare the result with an undisturbed one."""
    found = Damage(unclean=int(ended(child(directory, loaded)) != 0))
    found += damage_of(directory, seen)
    found.lost += len(expected - seen)
    traces = {path.name for path in (directory / "traces").iterdir()}
    named = {
        f"{record['trace']}.{ending}"
        for record in records_in(directory)
        for ending in dict(record["sha256"] or {})  # type: ignore[call-overload]
    }
    found.unclean += len(traces - named) + len(list(directory.glob("*.lock")))
    return found


class Captures:
    """Every fault, on captures of one loaded model."""

    def __init__(self, place: Path, kills: int, few: int) -> None:
        self.place, self.kills, self.few = place, kills, few
        self.loaded = load(ModelChoice(name="tiny-llava", device="cpu"))
        begun = time.monotonic()
        assert ended(child(place / "whole", self.loaded)) == 0
        self.whole_s = time.monotonic() - begun
        self.expected = {key_of(record) for record in records_in(place / "whole")}

    def stopped(self, name: str, number: signal.Signals, times: int) -> Tally:
        """Stop a capture by a signal at random instants; a finished one is begun anew."""
        tally, chance = Tally(name, "capture"), random.Random(int(number))
        directory, seen = self.place / name.replace(" ", "-"), set[Key]()
        while tally.times < times:
            pid = child(directory, self.loaded, stepping=name.startswith("clock"))
            time.sleep(chance.uniform(0.02, 0.6) * self.whole_s)
            os.kill(pid, number)
            code = ended(pid)
            if code == 0:
                tally.damage += completed(directory, self.loaded, self.expected, seen)
                shutil.rmtree(directory)
                seen = set()
                continue
            tally.times += 1
            tally.damage.unclean += int(code not in (-number, 130))
            tally.damage += damage_of(directory, seen)
        tally.damage += completed(directory, self.loaded, self.expected, seen)
        return tally

    def two_writers(self) -> Tally:
        """Start two captures into one directory: one must be refused with a message."""
        tally = Tally("two writers", "capture", self.few)
        for number in range(self.few):
            directory, seen = self.place / f"two-{number}", set[Key]()
            codes = sorted(map(ended, [child(directory, self.loaded) for _ in range(2)]))
            tally.damage.unclean += int(codes not in ([0, EXIT_USAGE], [0, 0]))
            tally.damage += completed(directory, self.loaded, self.expected, seen)
        return tally

    def full_disk(self) -> Tally:
        """Fill the disk after some runs: files stay intact, and a resume completes them."""
        tally, seen = Tally("full disk", "capture"), set[Key]()
        with small_disk(self.place / "disk", "48k") as disk:
            if disk is None:
                return Tally("full disk", "capture", note="not made: it mounts a file system")
            for kilobytes in range(48, 48 + 8 * self.few, 8):
                remount(disk, f"size={kilobytes}k")
                code = ended(child(disk / "out", self.loaded))
                tally.times += int(code != 0)
                tally.damage.unclean += int(code not in (0, EXIT_USAGE))
                tally.damage += damage_of(disk / "out", seen)
            remount(disk, "size=64m")
            tally.damage += completed(disk / "out", self.loaded, self.expected, seen)
        return tally

    def read_only(self) -> Tally:
        """Make the disk read-only."""
        tally, seen = Tally("read-only", "capture", 1), set[Key]()
        with small_disk(self.place / "readonly", "64m") as disk:
            if disk is None:
                return Tally("read-only", "capture", note="not made: it mounts a file system")
            pid = child(disk / "out", self.loaded)
            time.sleep(0.6 * self.whole_s)
            os.kill(pid, signal.SIGKILL)
            ended(pid)
            damage_of(disk / "out", seen)
            remount(disk, "ro")
            tally.damage.unclean += int(ended(child(disk / "out", self.loaded)) != EXIT_USAGE)
            tally.damage += damage_of(disk / "out", seen)
            remount(disk, "rw")
            tally.damage += completed(disk / "out", self.loaded, self.expected, seen)
        return tally

    def faults(self) -> dict[str, Callable[[], Tally]]:
        """Every fault by name."""
        kill, term, stop = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
        return {
            "kill": partial(self.stopped, "kill -9", kill, self.kills),
            "term": partial(self.stopped, "SIGTERM", term, self.few),
            "int": partial(self.stopped, "SIGINT", stop, self.few),
            "clock": partial(self.stopped, "clock steps, kill -9", kill, self.few),
            "two": self.two_writers,
            "full": self.full_disk,
            "readonly": self.read_only,
        }


def main() -> int:
    """Make the faults and print the damage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--only", action="append")
    given = parser.parse_args()
    captures = Captures(given.directory, given.kills, given.few)
    rows = [
        make() for name, make in captures.faults().items() if not given.only or name in given.only
    ]
    print(table(rows))
    return int(any(row.damage.any for row in rows))


if __name__ == "__main__":
    sys.exit(main())
