"""--help: every option has words and its default, and the examples are commands."""

from __future__ import annotations

import importlib
import re
import shlex

import click
import pytest

from tests.paths import REPOSITORY
from trace_timing.commands import EXAMPLES, SUBCOMMANDS
from trace_timing.commands.help_page import Command


def command_of(name: str) -> Command:
    command: Command = importlib.import_module(f"trace_timing.commands.{name}").command
    return command


def options_of(name: str) -> list[click.Option]:
    return [p for p in command_of(name).params if isinstance(p, click.Option)]


def page(name: str) -> str:
    command = command_of(name)
    context = click.Context(command, info_name=name, terminal_width=100, **command.context_settings)
    return command.get_help(context)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_option_stands_in_a_group_with_words_and_its_default(name: str) -> None:
    command = command_of(name)
    grouped = [option for group in command.groups.values() for option in group]
    assert sorted(grouped) == sorted(str(option.name) for option in options_of(name))
    told = " ".join(page(name).split())
    for title in command.groups:
        assert f" {title}: -" in told
    for option in options_of(name):
        assert len(option.help or "") > 10, option.name
        words = told[told.index(f" {option.opts[-1]}") :]
        if not option.is_flag:
            assert re.search(r"\[(default:|required)", words), option.name


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_examples_are_commands_of_the_readme_or_more_of_them(name: str) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    lines = re.findall(rf"^trace-timing {name}(.*)$", readme, re.MULTILINE)
    shown = page(name)
    for line in lines:
        assert f"trace-timing {name}{line.split('#')[0].rstrip()}" in shown
    for example in command_of(name).examples:
        words = shlex.split(example, comments=True)
        command_of(name).make_context(name, words, resilient_parsing=False)


def test_the_first_page_names_the_way_from_a_model_to_its_latencies() -> None:
    for example in EXAMPLES:
        name = example.split()[0]
        assert name in (*SUBCOMMANDS, "COMMAND")
        if name in SUBCOMMANDS:
            assert example.removeprefix(name).strip() in command_of(name).examples
