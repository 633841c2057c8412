"""How the values of options are written."""

import re

import click
import pytest
from click.testing import CliRunner

from zqc.cli import options
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.2, 0.25)


@pytest.mark.parametrize("text", ["480x640", "480X640", "480,640", "1x3x480x640", " 480 x 640 "])
def test_sizes(text):
    """Height and width, also as the last two of four sizes."""
    assert options.size(text) == (480, 640)


@pytest.mark.parametrize("text", ["640", "640x", "axb", "3x480x640", "-1x640", "1.5x2"])
def test_what_is_no_size(text):
    """It is quoted, with how to write one."""
    with pytest.raises(click.BadParameter, match=r"is no size; write HxW, for example 640x640"):
        options.size(text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--input-range", "0:255"], ((0.0, 255.0), None, None)),
        (["--input-range=-1:1"], ((-1.0, 1.0), None, None)),
        (["--mean", "0.5,0.4,0.3", "--std", "0.2,.2,0.25"], (None, MEAN, STD)),
        (["--mean", "127.5", "--std", "1"], (None, (127.5,), (1.0,))),
    ],
)
def test_ranges_and_lists(arguments, expected):
    """LO:HI and M,M,M become numbers."""
    assert parsed(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input-range", "1"], "'1' is no range; write LO:HI"),
        (["--input-range", "0:1:2"], "'0:1:2' is no range"),
        (["--mean", "0.5;0.4"], "'0.5;0.4' is no list of numbers such as"),
    ],
)
def test_what_is_no_range_or_list(arguments, words):
    """It is quoted, with an example."""
    with pytest.raises(click.BadParameter, match=words):
        parsed(arguments)


def parsed(arguments):
    """Range, mean and deviation of a command with the input options."""
    command = click.Command("command", callback=None)
    options.input_options(command)
    found = command.make_context("command", arguments).params
    return found["input_range"], found["mean"], found["std"]


def test_the_input_format():
    """A range or means and deviations make a format; the order of channels alone makes none."""
    normalised = InputFormat.from_mean_std(MEAN, STD, bgr=True)
    assert options.input_format(None, None, None, bgr=True) == "BGR"
    assert options.input_format((-1, 1), None, None, bgr=False) == InputFormat.from_range(-1, 1)
    assert options.input_format(None, MEAN, STD, bgr=True) == normalised


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (((0, 1), MEAN, STD), "--input-range and --mean/--std exclude each other"),
        ((None, MEAN, None), "--mean needs --std"),
        ((None, None, STD), "--std needs --mean"),
    ],
)
def test_contradictions(given, words):
    """The error names the options and the remedy."""
    with pytest.raises(OptionError, match=words):
        options.input_format(*given, bgr=False)


def values(text):
    """What ``--input`` makes of a text."""
    command = click.Command("command", callback=None)
    options.inputs_option(command)
    return command.make_context("command", ["--input", text]).params["inputs"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scale_factor=1,0.5", (1.0, 0.5)),
        ("flip=true", (1.0,)),
        ("flip=True, FALSE", (1.0, 0.0)),
    ],
)
def test_values_of_an_input(text, expected):
    """Numbers, or true and false."""
    assert dict(values(text)) == {text.partition("=")[0]: expected}


@pytest.mark.parametrize(
    "text", ["scale_factor", "=1", "gain=abc", "gain=", "gain=nan", "gain=inf"]
)
def test_what_is_no_value_of_an_input(text):
    """It is quoted, with how to write one."""
    with pytest.raises(click.BadParameter, match=re.escape(repr(text))):
        values(text)


@pytest.mark.parametrize(("threads", "taken"), [("0", False), ("1024", True), ("1025", False)])
def test_threads_have_a_limit(threads, taken):
    """ONNX Runtime would begin every one of a hundred thousand."""
    command = click.Command("c", params=[], callback=lambda threads: None)
    result = CliRunner().invoke(options.threads_option(command), ["--threads", threads])
    assert (result.exit_code == 0) is taken
    assert ("is not in the range 1<=x<=1024" in result.output) is not taken
