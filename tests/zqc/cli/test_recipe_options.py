"""The options that make up a recipe: what is given counts before what --recipe names."""

import json
import tomllib

import onnx
import pytest

from tests import nets
from zqc.commands import compile as compiler
from zqc.commands.read_recipe import read_recipe
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import PRESETS, Recipe
from zqc.recipe.toml import from_toml, to_table, to_toml

FILE = """
preset = "hptq"
bits = 4
samples = 3
mean = [0.5]
std = [0.25]
bgr = true
tie_channels = true
second_moments = true
keep_float = ["a*", "b"]
input_shape = [32, 48]
"""
FAST = ["--effort", "quick", "--samples", "4", "--threads", "1"]


@pytest.fixture
def recipe_of(zqc, monkeypatch, tmp_path):
    """What recipe the library gets from a command line; ``FILE`` stands for the recipe above."""
    path = tmp_path / "recipe.toml"
    path.write_text(FILE)

    def seen(command, *options):
        recipes = []

        def record(*_, recipe, **__):
            recipes.append(recipe)
            raise OptionError("enough")

        monkeypatch.setattr(compiler, "compile_model", record)
        monkeypatch.setattr("zqc.commands.synthesize.synthesize_to", record)
        words = [path if word == "FILE" else word for word in options]
        assert zqc(command, "model.onnx", "-o", "x", *words)[0] == 1
        return recipes[0]

    return seen


def test_no_option_is_the_default(recipe_of):
    """The defaults of the command line are those of Python."""
    assert recipe_of("compile") == recipe_of("synthesize") == Recipe()


def test_every_option_of_quantization(recipe_of):
    """Each reaches the recipe under its own name."""
    line = (
        "--bits 3 --act-bits 4 --first-last-bits 4 --equalization statistics --shift search "
        "--threshold lp --lp 3 --z-score 8 --rounding nearest --bias-correction outputs "
        "--second-moments --target-size 0.2 --target-latency 0.6 --min-runtime 1.16 "
        "--reduce-range --require-integer"
    )
    assert recipe_of("compile", *line.split()) == Recipe(
        bits=3,
        act_bits=4,
        first_last_bits=4,
        equalization="statistics",
        shift="search",
        threshold="lp",
        lp=3,
        z_score=8.0,
        rounding="nearest",
        bias_correction="outputs",
        second_moments=True,
        target_size=0.2,
        target_latency=0.6,
        min_runtime="1.16",
        reduce_range=True,
        require_integer=True,
    )


def test_a_recipe_is_taken_as_it_is(recipe_of):
    """Without other options, compile and synthesize get what stands in the file or the preset."""
    expected = from_toml(FILE, where="file")
    assert recipe_of("compile", "--recipe", "FILE") == expected
    assert recipe_of("synthesize", "--recipe", "FILE") == expected
    assert recipe_of("compile", "--recipe", "fast") == PRESETS["fast"]


def test_options_count_before_the_recipe(recipe_of):
    """What is given replaces its field and no other, also where it is the default value."""
    line = "--bits 8 --equalization none --no-tie-channels --no-second-moments --keep-float c"
    found = recipe_of("compile", *line.split(), "--recipe", "FILE")
    assert (found.bits, found.equalization, found.keep_float) == (8, "none", ("c",))
    assert (found.tie_channels, found.second_moments) == (False, False)
    assert (found.samples, found.shift, found.input_shape) == (3, "rule", (32, 48))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], InputFormat((-2.0,), (2.0,), True)),
        (["--rgb"], InputFormat((-2.0,), (2.0,), False)),
        (["--input-range=-1:1"], InputFormat((-1.0,), (1.0,), True)),
        (["--mean", "0", "--std", "1", "--rgb"], InputFormat((0.0,), (1.0,), False)),
    ],
)
def test_input_format_and_order_are_two_things(recipe_of, options, expected):
    """A given range keeps the order of the recipe, and a given order its range."""
    found = recipe_of("compile", "--recipe", "FILE", *options)
    assert found.input_format == expected


def test_order_alone_leaves_the_format_open(recipe_of):
    """--bgr without any range is still found from the statistics."""
    found = recipe_of("compile", "--bgr")
    assert found.input_format == "BGR"


def test_bad_recipes(zqc, tmp_path):
    """A recipe that cannot be used is one line, exit code 1."""
    path = tmp_path / "recipe.toml"
    path.write_text("bit = 4")
    for recipe, word in ((path, "did you mean bits?"), ("besst", "hptq, fast, best")):
        code, out, err = zqc("compile", "model.onnx", "--recipe", recipe)
        assert (code, out) == (1, "")
        assert err.startswith("Error: ")
        assert word in err


def test_dry_run(zqc, detector_file):
    """It prints the recipe with the input format as found, and writes nothing."""
    before = sorted(detector_file.parent.iterdir())
    code, out, err = zqc("compile", detector_file, "--dry-run", "--recipe", "hptq", "--bits", 4)
    assert (code, err.splitlines()[0]) == (0, "Reading detector.onnx")
    found = from_toml(out, where="output")
    assert found.input_format == InputFormat((0.0,), (1.0,))
    assert (found.bits, found.shift) == (4, "rule")
    code, out, _ = zqc("compile", detector_file, "--dry-run", "--json")
    assert code == 0
    assert json.loads(out) == to_table(Recipe(input_format=InputFormat((0.0,), (1.0,))))
    assert sorted(detector_file.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--keep-float", "nothing*"], "nothing*"),
        (["--images", "nowhere", "--no-statistics"], "exclude"),
        (["-o", "nowhere/out.onnx"], "nowhere"),
        (["--input-shape", "8x8"], "fixed"),
    ],
)
def test_dry_run_finds_mistakes(zqc, detector_file, options, word):
    """What would stop the compilation at once stops the dry run, too."""
    code, out, err = zqc("compile", detector_file, "--dry-run", *options)
    assert (code, out) == (1, "")
    assert word in err


def test_a_compiled_model_is_its_recipe(zqc, tmp_path):
    """The recipe is in the metadata, and with it the same file comes out again."""
    model, first, second = (tmp_path / name for name in ("model.onnx", "a.onnx", "b.onnx"))
    onnx.save(nets.detector(height="H", width="W"), model)
    options = ["--bits", 4, "--rounding", "nearest", "--input-shape", "16x16", *FAST]
    assert zqc("compile", model, "-o", first, *options)[0] == 0
    found = read_recipe(first)
    assert (found.bits, found.rounding, found.effort) == (4, "nearest", "quick")
    assert (found.samples, found.input_shape) == (4, (16, 16))
    assert found.input_format == InputFormat((0.0,), (1.0,))
    assert zqc("compile", model, "-o", second, "--recipe", first, "--threads", "1")[0] == 0
    assert first.read_bytes() == second.read_bytes()
    text = to_toml(found)
    assert tomllib.loads(text)["bits"] == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--weight-levels", "log-affine", "--target", "portable"],
            "--weight-levels is log-affine",
        ),
        (["--z-score", "-1"], "--z-score is -1"),
        (["--uniform-bits", "--target-size", "0.2"], "--target-size is for bits that are chosen"),
        (["--uniform-bits", "--extra-bits", "0.2"], "--extra-bits is for bits that are chosen"),
        (["--extra-bits", "3"], "--extra-bits is 3, but must be between 0 and 1"),
        (["--lp", "3"], "--lp is the power of the error of --threshold lp"),
    ],
)
def test_what_cannot_be_is_named_as_it_was_typed(zqc, options, said):
    """By the option, not by the field of a recipe; nor is an option taken that does nothing."""
    code, _, err = zqc("compile", "model.onnx", *options)
    assert code == 1
    assert said in " ".join(err.split())


def test_an_option_that_does_nothing_by_default_may_work_with_a_recipe(recipe_of, tmp_path):
    """The threshold that --lp belongs to may be that of the file."""
    path = tmp_path / "other.toml"
    path.write_text('threshold = "lp"\n')
    assert recipe_of("compile", "--recipe", path, "--lp", "3").lp == 3
