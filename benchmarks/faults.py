"""Provoke faults while capture, analyze and compare write, and check what is left.

    python -m benchmarks.faults                    # 100 kills of each command, and the rest
    python -m benchmarks.faults --kills 5 --few 2  # a look

Killed at random instants, stopped by signals, on a disk that fills up or may not be written, with
workers killed, with a clock that steps, two writers at once. After each fault what is there must be
one whole result, the one before or the new one. Prints how often something was lost, doubled or
mixed; exit code 1 if ever.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.fault_tally import Damage, Tally, table
from benchmarks.small_disk import remount, small_disk
from trace_timing.errors import EXIT_GOOD, EXIT_USAGE

REPOSITORY = Path(__file__).resolve().parent.parent
TRACES = sorted((REPOSITORY / "sample_traces" / "traces").glob("*.json.gz"))
SUMMARY = "summary.json"
#: Enough traces to be spread over processes.
_SPREAD = 12
#: The main module itself, too: each child runs it once more for what it imports.
_PRELOADED = ["trace_timing.commands.analyze", "trace_timing.commands.compare", "benchmarks.faults"]
_forkserver = multiprocessing.get_context("forkserver")


def _run(arguments: list[str], said: str, clock_s: float, begun: Event) -> None:
    """Run a command as a user does, in a process forked from one that has its imports."""
    with open(said, "a") as file:  # noqa: PTH123
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if clock_s:
        real = time.time_ns
        time.time_ns = lambda: real() + int(clock_s * 1e9)
    from trace_timing.commands import main

    # Ignored where this was started in the background of a shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["trace-timing", *arguments]
    begun.set()
    main()


class Command:
    """A command that writes a folder, and the whole results that it may leave there."""

    def __init__(self, name: str, place: Path, variants: Sequence[list[str]]) -> None:
        self.name, self.place, self.variants = name, place, variants
        self.said = place.parent / f"{place.name}.log"
        self.known: set[str] = set()
        self.took_s: list[float] = []
        for variant in variants:
            process, begun = self.start(variant), time.monotonic()
            process.join()
            assert process.exitcode == EXIT_GOOD, self.said.read_text()[-2000:]
            self.took_s.append(time.monotonic() - begun)
            self.known.add(self.result())

    def start(self, variant: list[str], clock_s: float = 0.0) -> ForkServerProcess:
        """Begin to write one of the results; returns once the command itself begins."""
        arguments, begun = [self.name, *variant, "-o", str(self.place)], _forkserver.Event()
        process = _forkserver.Process(target=_run, args=(arguments, str(self.said), clock_s, begun))
        process.start()
        begun.wait()
        return process

    def ended(self, variant: list[str], clock_s: float = 0.0) -> int | None:
        """Write one of the results to the end."""
        process = self.start(variant, clock_s)
        process.join()
        return process.exitcode

    def result(self) -> str:
        """Digest of every file in the folder and its name."""
        files = sorted(p for p in self.place.rglob("*") if p.is_file() and p.name[0] != ".")
        every = [(p.relative_to(self.place).as_posix(), p.read_bytes()) for p in files]
        text = [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in every]
        return hashlib.sha256("\n".join(text).encode()).hexdigest()

    def damage(self) -> Damage:
        """Damage in the folder as it is now."""
        if not self.place.is_dir() or not any(self.place.iterdir()):
            return Damage(lost=1)
        found = Damage(mixed=int(self.result() not in self.known))
        samples = self.place / "samples.parquet"
        if samples.exists():
            ids = pq.read_table(samples).column("sample_id").to_pylist()
            found.doubled = len(ids) - len(set(ids))
            said = json.loads((self.place / SUMMARY).read_bytes())["files"]
            found.lost = sum(not (self.place / name).exists() for name in said)
        return found

    def left_over(self) -> Damage:
        """Run the command to its end after the faults; hidden files left over count as damage."""
        code = self.ended(self.variants[0])
        folders = (self.place, self.place.parent)
        hidden = [p for f in folders for p in f.glob(f".*{self.place.name}*")]
        return Damage(unclean=len(hidden) + int(code != EXIT_GOOD))


def stopped(command: Command, name: str, number: signal.Signals, times: int) -> Tally:
    """Stop the command by a signal at random instants."""
    tally, chance, late = Tally(name, command.name), random.Random(int(number)), 0
    while tally.times < times:
        which = (tally.times + late) % len(command.variants)
        process, begun = command.start(command.variants[which]), time.monotonic()
        assert process.pid
        process.join(command.took_s[which] * chance.uniform(0.0, 1.0))
        if process.exitcode is None:
            os.kill(process.pid, number)
        process.join()
        if process.exitcode == EXIT_GOOD:
            # Less busy than it was, a machine is quicker.
            late, command.took_s[which] = late + 1, time.monotonic() - begun
        else:
            tally.times += 1
            tally.damage.unclean += int(process.exitcode not in (-number, 130))
        tally.damage += command.damage()
    tally.damage += command.left_over()
    return tally


def two_writers(command: Command, times: int) -> Tally:
    """Start two into one folder: each must end whole or be refused with a message."""
    tally = Tally("two writers", command.name, times)
    for _ in range(times):
        pair = [command.start(variant) for variant in command.variants[:2]]
        for process in pair:
            process.join()
            tally.damage.unclean += int(process.exitcode not in (EXIT_GOOD, EXIT_USAGE))
        tally.damage += command.damage()
    return tally


def clock_steps(command: Command, times: int) -> Tally:
    """A wall clock that steps by days between commands, and files with times of other days."""
    tally, chance = Tally("clock steps", command.name, times), random.Random(3)
    for number in range(times):
        place = command.place / (SUMMARY if command.name == "analyze" else "compare.html")
        os.utime(place, (chance.uniform(0, 4e9), chance.uniform(0, 4e9)))
        variant = command.variants[number % len(command.variants)]
        code = command.ended(variant, chance.uniform(-1e8, 1e8))
        tally.damage.unclean += int(code != EXIT_GOOD)
        tally.damage += command.damage()
    return tally


def workers_killed(place: Path, times: int) -> Tally:
    """Kill a worker process: every trace must be in the result once, or named as rejected."""
    tally, chance = Tally("worker killed", "analyze"), random.Random(9)
    many = place.parent / "many"
    many.mkdir()
    for number in range(_SPREAD):
        shutil.copy(TRACES[-1], many / f"copy{number}.json.gz")
    every = [str(many), "--jobs", "2", "--no-cache", "--no-report"]
    command = Command("analyze", place, [every])
    expected = {t["trace"] for t in _summary(place)["traces"]}
    while tally.times < times:
        process = command.start(every)
        assert process.pid
        time.sleep(command.took_s[0] * chance.uniform(0.3, 0.9))
        workers = _workers(process.pid)
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)
        process.join()
        tally.times += int(bool(workers))
        said = _summary(place)
        names = [t["trace"] for t in said["traces"]] + [r["source"] for r in said["rejections"]]
        tally.damage.lost += len(expected - set(names))
        tally.damage.doubled += len(names) - len(set(names))
        tally.damage.unclean += int(process.exitcode not in (0, 1))
    tally.damage += command.left_over()
    return tally


def _summary(place: Path) -> dict[str, list[dict[str, str]]]:
    said: dict[str, list[dict[str, str]]] = json.loads((place / SUMMARY).read_bytes())
    return said


def _workers(pid: int) -> list[int]:
    """Worker processes of a process, without multiprocessing's resource tracker."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(n) for n in path.read_text().split()] if path.exists() else []
    lines = {n: Path(f"/proc/{n}/cmdline") for n in children}
    return [n for n, line in lines.items() if line.exists() and b"spawn_main" in line.read_bytes()]


def small_disks(base: Path, name: str, variants: Sequence[list[str]], times: int) -> list[Tally]:
    """Run on a disk with too little room, then on one that becomes read-only."""
    full, fixed = Tally("full disk", name), Tally("read-only", name)
    with small_disk(base / f"disk-{name}", "64m") as disk:
        if disk is None:
            full.note = fixed.note = "not made: it mounts a file system"
            return [full, fixed]
        command = Command(name, disk / "out", variants)
        used = shutil.disk_usage(disk).used
        for number in range(times):
            remount(disk, f"size={used + (number + 1) * 16384}")
            code = command.ended(variants[number % len(variants)])
            full.times += int(code != EXIT_GOOD)
            full.damage.unclean += int(code not in (EXIT_GOOD, EXIT_USAGE))
            full.damage += command.damage()
        remount(disk, "size=64m,ro")
        fixed.times = 1
        fixed.damage.unclean += int(_refused_in_words(command, variants[0]))
        fixed.damage += command.damage()
        remount(disk, "rw")
        full.damage += command.left_over()
    return [full, fixed]


def _refused_in_words(command: Command, variant: list[str]) -> bool:
    """Whether it ends otherwise than it should; its log is on the disk, so it is read directly."""
    arguments = [command.name, *variant, "-o", str(command.place)]
    done = subprocess.run(
        [sys.executable, "-m", "trace_timing", *arguments],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    return done.returncode != EXIT_USAGE or "cannot be written" not in done.stderr


def of_commands(base: Path, kills: int, few: int) -> list[Tally]:
    """Every fault of analyze and compare."""
    rows: list[Tally] = []
    reports = []
    for number, trace in enumerate(TRACES[:2]):
        place = base / f"of{number}"
        Command("analyze", place, [[str(trace), "--jobs", "1", "--no-report"]])
        reports.append(str(place))
    analyses = [[str(trace), "--jobs", "1"] for trace in TRACES[:2]]
    analyses += [[*analysis, "--no-report"] for analysis in analyses]
    comparisons = [reports, reports[::-1]]
    for name, variants in (("analyze", analyses), ("compare", comparisons)):
        command = Command(name, base / f"out-{name}", variants)
        kinds: list[tuple[str, signal.Signals, int]] = [
            ("kill -9", signal.SIGKILL, kills),
            ("SIGTERM", signal.SIGTERM, few),
            ("SIGINT", signal.SIGINT, few),
        ]
        rows += [stopped(command, *kind) for kind in kinds]
        rows += [two_writers(command, few), clock_steps(command, few)]
        rows += small_disks(base, name, variants, few)
    return [*rows, workers_killed(base / "out-workers", few)]


def of_capture(base: Path, kills: int, few: int) -> tuple[str, int]:
    """Every fault of capture, in a process that may load torch."""
    place = base / "captures"
    place.mkdir()
    arguments = [str(place), "--kills", str(kills), "--few", str(few)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fault_captures", *arguments],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    return done.stdout or done.stderr[-2000:], done.returncode


def main() -> int:
    """Make the faults and print the damage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--few", type=int, default=10)
    given = parser.parse_args()
    _forkserver.set_forkserver_preload(_PRELOADED)
    parts: list[Callable[[Path], tuple[str, int]]] = [
        lambda base: _told(of_commands(base, given.kills, given.few)),
        lambda base: of_capture(base, given.kills, given.few),
    ]
    worst = 0
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = folder
            text, code = part(Path(folder))
        print(text, flush=True)
        worst = max(worst, code)
    return worst


def _told(rows: list[Tally]) -> tuple[str, int]:
    return table(rows), int(any(row.damage.any for row in rows))


if __name__ == "__main__":
    sys.exit(main())
