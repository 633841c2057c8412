"""The command that helps most after each verdict; every one of them can be typed."""

import shlex
from pathlib import Path

import pytest

from tests.zqc.commands.small_detectors import with_recipe, write_detector
from zqc.cli.main import cli
from zqc.commands.advice import after_check, after_compile
from zqc.commands.inputs import CalibrationSource
from zqc.commands.pair import open_pair
from zqc.detection.verdict import Verdict
from zqc.recipe.recipe import Recipe

GOOD, CARE, BROKEN, UNKNOWN = (
    Verdict(word, "why") for word in ("good", "usable with care", "broken", "not judged")
)
MODEL, OUTPUT = Path("my models/m.onnx"), Path("q.onnx")


def typed(line):
    """The words of a command line, which ``zqc`` can parse."""
    words = shlex.split(line)
    assert words[0] == "zqc"
    cli.commands[words[1]].make_context(words[1], words[2:])
    return words[1:]


def pair(tmp_path, recipe=None):
    """A float model and a quantized one, in a folder whose name has a space."""
    folder = tmp_path / "my models"
    folder.mkdir(exist_ok=True)
    first, second = (write_detector(folder / name) for name in ("m.onnx", "q.onnx"))
    if recipe is not None:
        with_recipe(second, recipe)
    return open_pair((first, second), input_shape=None, values={}, threads=1)


@pytest.mark.parametrize("verdict", [GOOD, UNKNOWN])
def test_what_is_good_needs_real_pictures_at_most(tmp_path, verdict):
    """Nothing is advised on real pictures; on made ones, to look at real ones."""
    both = pair(tmp_path)
    assert after_check(verdict, both, real=True, faulty=False) == ""
    words = typed(after_check(verdict, both, real=False, faulty=False))
    paths = [str(model.path) for model in (both.first, both.second)]
    assert words == ["check", *paths, "--images", "DIR"]


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(bits=7),
        Recipe(act_bits=4),
        Recipe(first_last_bits=4),
        Recipe(bits_of={"head": 4}),
        Recipe(target_size=0.3),
    ],
)
def test_fewer_bits_are_looked_at_layer_by_layer(tmp_path, recipe):
    """Below 8 bits, or with bits by layer, ``sensitivity`` says which need more."""
    both = pair(tmp_path, recipe)
    for verdict in (CARE, BROKEN):
        words = typed(after_check(verdict, both, real=True, faulty=False))
        assert words == ["sensitivity", str(both.first.path), "--recipe", str(both.second.path)]


@pytest.mark.parametrize("recipe", [None, Recipe()])
def test_what_8_bits_do_not_explain_is_debugged(tmp_path, recipe):
    """Of 8 bits, or compiled by somebody else, the layer where the models part is wanted."""
    both = pair(tmp_path, recipe)
    words = typed(after_check(CARE, both, real=True, faulty=False))
    assert words == ["debug", str(both.first.path), str(both.second.path)]


@pytest.mark.parametrize("recipe", [None, Recipe(bits=4)])
def test_where_kernels_saturate_weights_get_7_bits(tmp_path, recipe):
    """Before anything else, with all that the file was compiled with; but a fault comes first."""
    both = pair(tmp_path, recipe)
    words = typed(after_check(BROKEN, both, real=True, faulty=False, saturated=True))
    assert words[:2] == ["compile", str(both.first.path)]
    assert "--reduce-range" in words
    assert ("--bits" in words) == (recipe is not None)
    assert typed(after_check(BROKEN, both, real=True, faulty=True, saturated=True))[0] == "debug"
    given = CalibrationSource(no_statistics=True)
    said = after_compile(
        CARE, MODEL, OUTPUT, Recipe(), given, real=False, noise=True, bits_help=True, saturates=True
    )
    expected = ["compile", str(MODEL), "--no-statistics", "--reduce-range"]
    assert typed(said) == expected


def test_what_bits_do_not_explain_is_debugged(tmp_path):
    """Classes in another order are a fault, however few bits there are."""
    both = pair(tmp_path, Recipe(bits=4))
    assert typed(after_check(BROKEN, both, real=True, faulty=True))[0] == "debug"


def compiled(verdict, recipe=None, *, model=MODEL, output=OUTPUT, real=True, **more):
    """What is advised after a compilation; a source of pictures may be among the arguments."""
    told = {"noise": more.pop("noise", False), "bits_help": more.pop("helps", False)}
    given = CalibrationSource(**more)
    return after_compile(verdict, model, output, recipe or Recipe(), given, real=real, **told)


@pytest.mark.parametrize("verdict", [GOOD, UNKNOWN])
def test_after_a_good_compilation(verdict):
    """A look at real pictures, unless it was calibrated with such."""
    assert compiled(verdict) == ""
    words = typed(compiled(verdict, real=False))
    assert words == ["check", "my models/m.onnx", "q.onnx", "--images", "DIR"]


@pytest.mark.parametrize("verdict", [CARE, BROKEN])
@pytest.mark.parametrize("asked_for", [True, False])
def test_noise_is_replaced_first(verdict, asked_for):
    """Without statistics nothing helps as much as pictures, with what was asked for else."""
    recipe = Recipe(bits=4, seed=3)
    line = compiled(verdict, recipe, no_statistics=asked_for, noise=True, helps=True, real=False)
    words = typed(line)
    assert words[:2] == ["compile", "my models/m.onnx"]
    assert words[words.index("--images") + 1] == "DIR"
    assert words[words.index("--bits") + 1] == "4"
    assert "--no-statistics" not in words


@pytest.mark.parametrize("helps", [True, False])
@pytest.mark.parametrize("verdict", [CARE, BROKEN])
def test_more_bits_are_advised_where_they_were_tried_and_helped(verdict, helps):
    """With 8-bit weights tried: ``sensitivity`` with the same options, or the next in the row."""
    line = compiled(verdict, Recipe(bits=4), helps=helps, images=Path("my photos"))
    words = typed(line)
    assert words[0] == ("sensitivity" if helps else "debug")
    if helps:
        assert words[2:] == ["--images", "my photos", "--bits", "4"]


@pytest.mark.parametrize("fields", [{"act_bits": 4}, {"first_last_bits": 4}])
def test_activations_of_4_bits_get_8(fields):
    """Where weights are not the reason; those of the first and last layers are activations, too."""
    words = typed(compiled(BROKEN, Recipe(bits=4, **fields)))
    assert words == ["compile", "my models/m.onnx", "--bits", "4"]  # 8 is the default


def test_what_8_bits_harm_is_debugged():
    """The two files, by their names."""
    assert typed(compiled(BROKEN)) == ["debug", "my models/m.onnx", "q.onnx"]


def test_models_in_memory_are_called_something():
    """Where there is no file, the line says what to put there."""
    assert compiled(BROKEN, model=object(), output=None) == "zqc debug MODEL QUANTIZED"
