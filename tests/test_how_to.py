"""The snippets of docs/how-to.md: they compile, and they ask zqc for what there is."""

import re
import shlex
from pathlib import Path

import click
import pytest

import zqc
from zqc.cli import cli

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
SNIPPETS = [body for language, body in BLOCKS if language == "python"]
COMMANDS = [
    line.removeprefix("$ ").split(" > ")[0]
    for language, body in BLOCKS
    if language != "python"
    for line in body.replace("\\\n", " ").splitlines()
    if re.match(r"(\$ )?zqc \w", line)
]


def test_the_document_has_snippets_and_commands():
    """What the tests below go through is found at all."""
    assert len(SNIPPETS) >= 3
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_compiles(snippet):
    """Every Python snippet is complete: it compiles as it stands."""
    compile(snippet, "docs/how-to.md", "exec")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    """Every command that the document shows exists, and takes the options it is given."""
    _, name, *arguments = shlex.split(command, comments=True)
    known = cli.commands[name]
    with click.Context(known) as context:
        known.parse_args(context, arguments)


def test_python_names_exist():
    """What the snippets take from zqc is public."""
    names = {name for snippet in SNIPPETS for name in re.findall(r"\bzqc\.(\w+)", snippet)}
    assert names <= set(zqc.__all__)
