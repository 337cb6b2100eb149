"""The commands in a report reproduce it, and hold no paths of the machine."""

from __future__ import annotations

from click.testing import CliRunner

from trace_timing.commands.capture import command
from trace_timing.report.reproducing import analyze_command, capture_command

SETTINGS = {
    "model": "random:llava-8b",
    "profile": "ranges",
    "control": 5,
    "detail": "stages",
    "cuda_cache": "keep",
    "max_new_tokens": 32,
    "dtype": "bfloat16",
    "seed": 0,
    "repeats": 1,
    "keep": "json",
    "warm_up": {"steady": True},
}


def test_a_capture_is_told_with_its_settings() -> None:
    told = capture_command(SETTINGS)
    assert told is not None
    assert told.startswith("trace-timing capture --model random:llava-8b --profile ranges")
    assert "--max-new-tokens 32" in told
    assert "warm_up" not in told


def test_every_option_named_is_one_that_the_command_has() -> None:
    told = (capture_command(SETTINGS) or "").split()
    known = CliRunner().invoke(command, ["--help"]).output
    assert all(word in known for word in told if word.startswith("--"))


def test_a_loop_of_the_users_own_has_no_capture_command() -> None:
    assert capture_command({"profile": "ranges"}) is None


def test_absolute_paths_lose_their_folders() -> None:
    told = analyze_command(["/home/me/secret/traces", "more/", "-o", "report/", "--by", "tier"])
    assert told == "trace-timing analyze traces more/ -o report/ --by tier"


def test_how_many_processes_did_it_is_not_told() -> None:
    for jobs in (["--jobs", "3"], ["--jobs=3"]):
        assert analyze_command([*jobs, "traces"]) == "trace-timing analyze traces"
        assert analyze_command(["traces", *jobs]) == "trace-timing analyze traces"
