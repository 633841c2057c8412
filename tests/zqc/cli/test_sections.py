"""Help under headings, in 80 columns."""

import re

import click
import pytest
from click.testing import CliRunner

from zqc.cli.main import cli
from zqc.cli.recipe_options import EFFORT_TABLE, PRESET_TABLE
from zqc.cli.sections import SectionedCommand, SectionedGroup, option_of
from zqc.commands import amounts
from zqc.recipe.recipe import EFFORTS, PRESETS, Recipe


def test_options_stand_under_their_headings():
    """Options without a section come first, then the sections in the order of their options."""

    @click.command(cls=SectionedCommand)
    @click.argument("what")
    @option_of("Cold")("--ice", help="Frozen.")
    @click.option("--plain", help="Neither.")
    @option_of("Warm")("--tea", help="Hot.")
    @option_of("Cold")("--snow", help="White.")
    def command(**_):
        """Do it."""

    text = CliRunner().invoke(command, ["--help"]).output
    words = re.findall(r"^(\w+:|  --\w+)", text, re.MULTILINE)
    expected = "Usage: Options: --plain --help Cold: --ice --snow Warm: --tea"
    assert " ".join(word.strip() for word in words) == expected


def help_of(*words):
    """The help of a command, by lines."""
    result = CliRunner().invoke(cli, [*words, "--help"], prog_name="zqc")
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


@pytest.mark.parametrize("words", [[], *([name] for name in cli.commands)])
def test_help_fits_80_columns(words):
    """No line is wider, none ends with half a word, and nothing is cut short."""
    lines = help_of(*words)
    assert all(len(line) <= 80 for line in lines)
    assert not [line for line in lines if line.endswith("-") or line.endswith("...")][1:]
    command = cli.commands[words[0]] if words else cli
    text = " ".join(" ".join(lines).split())
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert " ".join(parameter.help.split()) in text


def test_the_longest_help():
    """`zqc compile --help` has a hundred lines, and few more."""
    assert len(help_of("compile")) <= 105


def test_presets_and_efforts_are_explained():
    """Each has a line, and efforts say what they are."""
    (presets,), (efforts,) = PRESET_TABLE.values(), EFFORT_TABLE.values()
    assert {name for name, _ in presets} == set(PRESETS)
    assert [name for name, _ in efforts] == list(EFFORTS)
    for name, text in efforts:
        schedule = amounts.schedule(Recipe(effort=name), (3, 192, 192))
        assert text.startswith(f"{schedule.samples} pictures of {schedule.steps} steps")


def test_examples_are_commands():
    """Every example parses."""
    for name, command in cli.commands.items():
        for example in command.examples:
            words = re.split("  +| >", example)[0].split()
            assert words[:2] == ["zqc", name]
            command.make_context(name, words[2:])


def test_words_are_not_broken():
    """Hyphens and long names stay whole, and what is in brackets stands together."""

    @click.command(cls=SectionedCommand)
    @click.option("--path", help=f"{'far ' * 12}post-processing /{'x' * 90}  [default: a b c]")
    @click.option("--yes/--no-yes", default=True, help="A flag.")
    @click.option("--count", type=click.IntRange(1), default=3, show_default=True, help="A number.")
    def command(**_):
        """Do it."""

    lines = CliRunner().invoke(command, ["--help"]).output.splitlines()
    words = {word for line in lines for word in line.split()}
    assert {"post-processing", "/" + "x" * 90, "--[no-]yes"} <= words
    assert any(line.strip() == "[default: a b c]" for line in lines)
    assert any(line.endswith("A number.  [default: 3]") for line in lines)


def test_commands_are_listed_whole():
    """A group shows the whole first sentence of a command."""
    group = SectionedGroup("group")
    sentence = "Say " + "one word after another " * 4 + "and end."
    group.add_command(click.Command("talk", help=f"{sentence}\n\nMore."))
    text = " ".join(CliRunner().invoke(group, ["--help"]).output.split())
    assert sentence in text
    assert "More" not in text
