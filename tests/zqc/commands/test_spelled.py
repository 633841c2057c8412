"""A call as a command line."""

import fnmatch
import shlex
from pathlib import Path

import pytest

from zqc.commands.inputs import CalibrationSource
from zqc.commands.spelled import command_line, exactly, layer_options
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe


def spelled(recipe=None, **given):
    """The command of a recipe."""
    model = Path("my model.onnx")
    return command_line("compile", model, recipe or Recipe(), CalibrationSource(**given))


def test_defaults_are_not_said():
    """The model is quoted for the shell."""
    assert spelled() == "zqc compile 'my model.onnx'"
    assert command_line("compile", object(), Recipe(), CalibrationSource()) == "zqc compile MODEL"


def test_models_beside_it_follow():
    """Before the options, quoted as well."""
    models = Path("a.onnx"), Path("b c.onnx")
    said = command_line(
        "debug", models[0], Recipe(bits=4), CalibrationSource(), ["--more"], beside=models[1:]
    )
    assert said == "zqc debug a.onnx 'b c.onnx' --bits 4 --more"


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"bits": 4, "act_bits": 4}, ["--bits", "4", "--act-bits", "4"]),
        (
            {"channel_outputs": False, "tie_channels": True},
            ["--no-channel-outputs", "--tie-channels"],
        ),
        ({"task_specific": True}, ["--task-specific"]),
        ({"keep_float": ("/a/*", "b")}, ["--keep-float", "/a/*", "--keep-float", "b"]),
        ({"bits_of": {"/a b/*": 8}}, ["--bits-of", "/a b/*=8"]),
        ({"inputs": {"scale": (1, 0.5)}}, ["--input", "scale=1,0.5"]),
        ({"input_shape": (64, 32)}, ["--input-shape", "64x32"]),
        ({"input_format": InputFormat((-1.0,), (1.0,))}, ["--input-range=-1:1"]),
        ({"input_format": "BGR"}, ["--bgr"]),
        (
            {"input_format": InputFormat.from_mean_std((0.5, 0.4, 0.3), (0.2, 0.25, 0.2))},
            ["--mean=0.5,0.4,0.3", "--std=0.2,0.25,0.2"],
        ),
    ],
)
def test_fields_are_options(fields, options):
    """Those that differ from the defaults; a shell reads them as they were."""
    said = shlex.split(spelled(Recipe(**fields)))[3:]
    assert sorted(said) == sorted(options)


def test_sources_of_pictures_are_options():
    """A folder, a card, or noise; and whether there have to be statistics."""
    assert spelled(images=Path("a b")).endswith("--images 'a b'")
    assert spelled(statistics=Path("card.json")).endswith("--statistics card.json")
    assert spelled(no_statistics=True).endswith("--no-statistics")
    both = spelled(statistics=Path("card.json"), require_statistics=True)
    assert both.endswith("--statistics card.json --require-statistics")


def test_names_match_nothing_but_themselves():
    """Whatever stands in them."""
    name = "/a[0]/b*c?"
    assert fnmatch.filter([name, "/a0/b*c?", "/a[0]/bxc?"], exactly(name)) == [name]
    assert layer_options(["/a"], {"/b c": 8}) == ("--keep-float /a", "--bits-of '/b c=8'")
