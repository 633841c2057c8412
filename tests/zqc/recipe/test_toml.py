"""Recipes as TOML: what is written is read again, and what is wrong is named."""

import dataclasses
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zqc import targets
from zqc.commands.read_recipe import read_recipe
from zqc.errors import OptionError
from zqc.pictures.input_format import CHANNEL_ORDERS, FITS, InputFormat
from zqc.recipe import recipe
from zqc.recipe.recipe import PRESETS, Recipe
from zqc.recipe.toml import KEYS, from_toml, to_table, to_toml

SHARES = st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
COUNTS = st.integers(1, 10**6)


@st.composite
def input_formats(draw):
    """Any input format, and those of means and deviations more often than chance would."""
    bgr = draw(st.booleans())
    if draw(st.booleans()):
        white = draw(st.sampled_from([1, 255]))
        numbers = [draw(st.floats(0.001, 1)) * white for _ in range(6)]
        numbers = [round(number, draw(st.integers(3, 12))) for number in numbers]
        return InputFormat.from_mean_std(numbers[:3], numbers[3:], bgr=bgr)
    ends = st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2)
    pairs = draw(st.lists(ends.filter(lambda e: e[0] != e[1]).map(sorted), min_size=1, max_size=4))
    low, high = zip(*pairs, strict=True)
    return InputFormat(low, high, bgr)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
FIELDS = {
    "bits": st.sampled_from(recipe.WEIGHT_BITS),
    "act_bits": st.sampled_from(recipe.ACT_BITS),
    "first_last_bits": st.sampled_from(recipe.BITS),
    "equalization": st.sampled_from(recipe.EQUALIZATIONS),
    "insert_factors": st.sampled_from(recipe.INSERT_FACTORS),
    "shift": st.sampled_from(recipe.SHIFTS),
    "threshold": st.sampled_from(recipe.THRESHOLDS),
    "lp": st.integers(1, 9),
    "z_score": st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
    "rounding": st.sampled_from(recipe.ROUNDINGS),
    "weight_levels": st.sampled_from(["auto", "uniform"]),
    "bias_correction": st.sampled_from(recipe.BIAS_CORRECTIONS),
    "second_moments": st.booleans(),
    "channel_outputs": st.booleans(),
    "uniform_bits": st.booleans(),
    "extra_bits": st.floats(0, 1),
    "target_size": SHARES,
    "target_latency": SHARES,
    "samples": st.none() | COUNTS,
    "seed": st.integers(0, 2**63 - 1),
    "input_format": st.sampled_from(CHANNEL_ORDERS) | input_formats(),
    "input_shape": st.none() | st.tuples(COUNTS, COUNTS),
    "fit": st.sampled_from(FITS),
    "inputs": st.dictionaries(TEXTS, st.lists(NUMBERS, min_size=1).map(tuple)),
    "loss_weights": st.dictionaries(
        st.sampled_from(recipe.LOSS_TERMS), st.floats(0, 9, exclude_min=True)
    ),
    "pictures_seen": st.none() | COUNTS,
    "rate": st.none() | st.floats(0, 9, exclude_min=True),
    "ema": st.booleans(),
    "target": st.sampled_from(targets.BUILT_IN),
    "min_runtime": st.none() | st.sampled_from(["1.16", "1.23", "1.40"]),
    "reduce_range": st.booleans(),
    "require_integer": st.booleans(),
    "effort": st.sampled_from(recipe.EFFORTS),
    "bn_terms": st.sampled_from(recipe.TERMS),
    "tie_channels": st.booleans(),
    "task_specific": st.booleans(),
    "keep_float": st.lists(TEXTS).map(tuple),
    "bits_of": st.dictionaries(TEXTS, st.sampled_from(recipe.WEIGHT_BITS)),
}


@settings(deadline=None)
@given(st.fixed_dictionaries(FIELDS))
def test_round_trip(fields):
    """What is written is read again as the same value, bit by bit."""
    if not fields["target"].startswith("ort-"):
        fields["min_runtime"] = None
    expected = Recipe(**fields)
    text = to_toml(Recipe(**fields))
    assert from_toml(text, where="text") == expected
    assert tomllib.loads(text) == to_table(expected)
    assert set(to_table(expected)) <= set(KEYS)


def test_every_field_is_in_the_round_trip():
    """A new field is tried, too."""
    assert list(FIELDS) == [field.name for field in dataclasses.fields(Recipe)]


def test_a_file_says_what_differs(tmp_path):
    """Fields that a file does not set are those of its preset, else the defaults."""
    path = tmp_path / "mine.toml"
    path.write_text("bits = 4 # small\nz_score = 8\nkeep_float = ['head*']\ninput_shape=[32, 64]")
    expected = Recipe(bits=4, z_score=8.0, keep_float=("head*",), input_shape=(32, 64))
    assert read_recipe(path) == read_recipe(str(path)) == expected
    path.write_text('bits = 4\nshift = "search"\npreset = "hptq"')
    assert read_recipe(path) == dataclasses.replace(PRESETS["hptq"], bits=4, shift="search")


def test_presets_load():
    """Every preset has its name, and hptq is the paper's."""
    assert set(PRESETS) == {"hptq", "fast", "best"}
    for name, preset in PRESETS.items():
        assert read_recipe(name) is preset
        assert from_toml(f"preset = {name!r}", where="text") == preset
    hptq = PRESETS["hptq"]
    assert (hptq.equalization, hptq.shift, hptq.threshold) == ("pictures", "rule", "mse")
    assert (hptq.rounding, hptq.bias_correction) == ("nearest", "pictures")
    assert PRESETS["fast"].effort == "quick"
    assert PRESETS["best"].effort == "thorough"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("input_range = [-1, 1]", InputFormat((-1.0,), (1.0,))),
        ("input_range = [[0, 0, 0], [1, 2, 3.5]]", InputFormat((0.0,) * 3, (1.0, 2.0, 3.5))),
        ("input_range = [0, 255]\nbgr = true", InputFormat((0.0,), (255.0,), True)),
        ("mean = [0.5]\nstd = [0.25]", InputFormat((-2.0,), (2.0,))),
        ("bgr = true", "BGR"),
        ("bgr = false", "RGB"),
        ("bits = 4", "RGB"),
    ],
)
def test_input_formats(text, expected):
    """A range, one per channel, or means and deviations; the order alone leaves them open."""
    found = from_toml(text, where="text")
    assert found.input_format == expected


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ["mean = [0.485, 0.456, 0.406]"]),
        (((104, 117, 123), (1, 1, 1)), ["mean = [104.0, 117.0, 123.0]", "std = [1.0, 1.0, 1.0]"]),
    ],
)
def test_means_are_written_as_they_were_given(arguments, lines):
    """Nobody has to recognise the means of ImageNet in -2.1179039301310043."""
    written = to_toml(Recipe(input_format=InputFormat.from_mean_std(*arguments))).splitlines()
    assert set(lines) <= set(written)


BAD = {
    "misspelt": ("bit = 4", "unknown key 'bit'; did you mean bits?"),
    "elsewhere": ('memory = "2GB"', "'memory' is no field of a recipe; say --memory beside it"),
    "hyphens": ("first-last-bits = 4", "did you mean first_last_bits?"),
    "British": ('equalisation = "none"', "did you mean equalization?"),
    "nothing near": ("zzz = 4", "unknown key 'zzz'; known: preset, bits, act_bits"),
    "a table": ("[weights]\nbits = 4", "unknown key 'weights'"),
    "text for a number": ('bits = "4"', 'bits is "4", but must be one of 2, 3'),
    "text for a whole number": ('seed = "4"', 'seed is "4", but must be a whole number'),
    "fraction for a whole number": ("seed = 1.5", "seed is 1.5, but must be a whole number"),
    "truth for a whole number": ("lp = true", "lp is true, but must be a whole number"),
    "truth for a number": ("z_score = true", "z_score is true, but must be a number"),
    "number for truth": ("second_moments = 1", "second_moments is 1, but must be true or false"),
    "unknown value": ('shift = "left"', 'shift is "left", but must be one of none, rule, search'),
    "fraction of a choice": ("bits = 8.0", "bits is 8.0, but must be one of 2, 3"),
    "list for a text": ('shift = ["rule"]', "but must be one of none, rule, search"),
    "value out of range": ("target_size = 2", "target_size is 2, but must be between 0 and 1"),
    "one size": ("input_shape = [64]", "input_shape is [64], but must be [height, width]"),
    "no size": ('input_shape = "64x64"', "but must be [height, width]"),
    "text for a list": ('keep_float = "a"', 'keep_float is "a", but must be a list of texts'),
    "numbers for texts": ("keep_float = [1]", "but must be a list of texts"),
    "unknown preset": ('preset = "hqtp"', 'preset is "hqtp", but must be one of hptq, fast, best'),
    "list of presets": ("preset = []", "preset is [], but must be one of"),
    "range of one": ("input_range = [1]", "input_range is [1], but must be [low, high]"),
    "range of texts": ('input_range = ["a", "b"]', "but must be [low, high]"),
    "range and list": ("input_range = [0, [1, 1, 1]]", "1 low and 3 high"),
    "range upside down": ("input_range = [1, 0]", "1:0"),
    "range of no end": ("input_range = [0, inf]", "input_range is [0, Infinity]"),
    "range and mean": ("input_range = [0, 1]\nmean = [0]\nstd = [1]", "exclude each other"),
    "mean alone": ("mean = [0.5]", "mean needs std"),
    "std alone": ("std = [0.5]", "std needs mean"),
    "mean is no list": ("mean = 0.5\nstd = 0.5", "mean is 0.5, but must be a list of numbers"),
    "a date": ("seed = 2020-01-01", "but must be a whole number"),
    "not TOML": ("bits = 8\nact_bits: 8", "is not TOML", "line 2"),
    "twice": ("bits = 8\nbits = 4\n", "is not TOML", "line 2"),
}


@pytest.mark.parametrize(("text", "words"), [(t, w) for t, *w in BAD.values()], ids=BAD)
def test_bad_files(tmp_path, text, words):
    """What is wrong is named with its key, its value, its file and what would be right."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(OptionError) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert all(word in message for word in words)
    assert "\n" not in message
