"""`python -m tests.mutation`: test a seeded sample of mutants, print score and survivors."""

from __future__ import annotations

import argparse
import difflib
import json
import queue
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.mutation.mutants import Mutant, draw, module_paths, places
from tests.mutation.selection import BaselineError, measure, read
from tests.mutation.trial import Outcome, make_copy, run_mutant
from tests.paths import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG = Path(__file__).with_name("cosmic-ray.toml")
#: What the run of the unchanged tests found; not tracked.
RESULTS = REPOSITORY / "build" / "mutation"
DEAD = ("killed", "timed out")


def main() -> int:
    """0 where the score is at least what the configuration asks for, 1 where it is not."""
    config = tomllib.loads(CONFIG.read_text())
    mine, cosmic_ray = config["trace-timing"], config["cosmic-ray"]
    options = _options(mine)
    modules = module_paths(cosmic_ray)
    excluded = cosmic_ray["filters"]["operators-filter"]["exclude-operators"]
    found = places(modules, excluded, mine["wording"])
    sample = list(draw(found, options.sample, options.seed))
    known = _known_dead(options.again)
    todo = [(mutant, text) for mutant, text in sample if mutant.name not in known]
    _print_sample(modules, found, sample, options)
    try:
        outcomes = list(
            _tried(todo, mine, cosmic_ray["timeout"], options.processes, reuse=options.reuse)
        )
    except BaselineError as error:
        print(error, file=sys.stderr)
        return 3
    dead = len(known) + sum(outcome.fate in DEAD for outcome in outcomes)
    _print_survivors(outcomes, dict(sample))
    score = dead / len(sample)
    print(f"{dead} of {len(sample)} mutants died: score {score:.1%}, seed {options.seed}")
    if options.output:
        listed = [{**asdict(o), "name": o.mutant.name} for o in outcomes]
        before = [{"name": name, "fate": "killed"} for name in sorted(known)]
        options.output.write_text(json.dumps([*before, *listed], indent=1) + "\n")
    return 0 if score >= mine["least-score"] else 1


def _options(mine: Mapping[str, Any]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=mine["sample"], help="mutants to draw")
    parser.add_argument("--seed", type=int, default=mine["seed"])
    parser.add_argument("--processes", type=int, default=2, help="mutants tested at a time")
    parser.add_argument("-o", "--output", type=Path, help="write what became of each, as JSON")
    parser.add_argument(
        "--again", type=Path, metavar="JSON", help="try only what did not die in that result"
    )
    parser.add_argument(
        "--reuse", action="store_true", help="which test runs what: as the last run measured it"
    )
    return parser.parse_args()


def _known_dead(result: Path | None) -> set[str]:
    if result is None:
        return set()
    return {row["name"] for row in json.loads(result.read_text()) if row["fate"] in DEAD}


def _print_sample(
    modules: Sequence[Path],
    found: Mapping[Any, Sequence[Any]],
    sample: Sequence[Any],
    options: argparse.Namespace,
) -> None:
    print("modules:", *modules, sep="\n  ")
    total = sum(map(len, found.values()))
    print(f"{total} mutants at {len(found)} places; {len(sample)} drawn with seed {options.seed}")


def _tried(
    todo: Sequence[tuple[Mutant, str]],
    mine: Mapping[str, Any],
    timeout: float,
    processes: int,
    *,
    reuse: bool,
) -> Iterator[Outcome]:
    """Test each mutant in one of as many copies of the repository as there are processes."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copies: queue.Queue[Path] = queue.Queue()
        first = make_copy(REPOSITORY, Path(folder, "0"))
        if not reuse:
            print("running the unchanged tests under coverage …", flush=True)
            measure(first, RESULTS, mine["tests"])
        selection = read(RESULTS)
        copies.put(first)
        for number in range(1, processes):
            copies.put(make_copy(REPOSITORY, Path(folder, str(number))))

        budget = mine["budget-seconds"]

        def attempt(mutant: Mutant, text: str) -> Outcome:
            copy = copies.get()
            stages = [mine["always"], *selection.stages(mutant, budget)]
            try:
                return run_mutant(copy, mutant, text, stages, timeout)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(processes) as pool:
            futures = [pool.submit(attempt, *one) for one in todo]
            for done, future in enumerate(as_completed(futures), 1):
                outcome = future.result()
                print(
                    f"[{done}/{len(todo)}] {outcome.fate:9} {outcome.seconds:6.1f} s "
                    f"{outcome.mutant.name}",
                    flush=True,
                )
                yield outcome


def _print_survivors(outcomes: Sequence[Outcome], texts: Mapping[Mutant, str]) -> None:
    survivors = [o for o in outcomes if o.fate not in DEAD]
    for outcome in sorted(survivors, key=lambda o: (o.mutant.module, o.mutant.line)):
        mutant = outcome.mutant
        print(f"\n{outcome.fate} ({outcome.tests} tests): {mutant.name}")
        before = (REPOSITORY / mutant.module).read_text().splitlines()
        lines = difflib.unified_diff(before, texts[mutant].splitlines(), n=0, lineterm="")
        print(*(line for line in list(lines)[3:]), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
