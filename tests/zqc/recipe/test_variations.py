"""Recipes that differ in a few fields."""

import pytest

from zqc.errors import OptionError
from zqc.parsing.text import ParseError
from zqc.recipe.recipe import Recipe
from zqc.recipe.variations import variations, varied


def test_every_value_goes_with_every_other():
    """The last field changes fastest, and all else is that of the base."""
    found = variations(Recipe(act_bits=4), {"bits": (4, 3), "seed": range(3)})
    assert [one.values for one in found] == [
        {"bits": bits, "seed": seed} for bits in (4, 3) for seed in (0, 1, 2)
    ]
    assert [one.recipe for one in found] == [
        Recipe(act_bits=4, bits=bits, seed=seed) for bits in (4, 3) for seed in (0, 1, 2)
    ]
    assert found[1].name == "bits-4.seed-1"
    assert variations(Recipe(), {"ema": (True,)})[0].name == "ema-true"


@pytest.mark.parametrize("value", ["learned", 4, True, 0.1])
def test_a_single_value_is_one(value):
    """Not the letters of a text."""
    field = {str: "rounding", int: "bits", bool: "ema", float: "rate"}[type(value)]
    (one,) = variations(Recipe(), {field: value})
    assert getattr(one.recipe, field) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bits=4,3", ("bits", (4, 3))),
        ("extra-bits = 0.03, 0.1", ("extra_bits", (0.03, 0.1))),
        ("ema=true,false", ("ema", (True, False))),
        ("rounding=learned,compensated", ("rounding", ("learned", "compensated"))),
        ("min_runtime='1.16'", ("min_runtime", ("1.16",))),
        ("min-runtime=1.20,1.30", ("min_runtime", ("1.20", "1.30"))),
    ],
)
def test_what_is_typed(text, expected):
    """Numbers and truth values as in TOML, all else as text."""
    assert varied(text) == expected


@pytest.mark.parametrize("text", ["bits", "=4", "bits=", "bits=4,,3", ""])
def test_what_is_no_choice(text):
    """What is meant is said with an example."""
    with pytest.raises(ParseError, match="for example seed=0,1,2"):
        varied(text)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"bit": (4, 3)}, "'bit' cannot be varied; did you mean bits?"),
        ({"bits_of": ({"a": 4},)}, "'bits_of' cannot be varied; it holds more than one value"),
        ({"input_shape": (64,)}, "'input_shape' cannot be varied; it holds more than one value"),
        ({"bits": (4.0,)}, "bits is 4.0, but must be one of"),
        ({"min_runtime": (1.2,)}, "min_runtime is 1.2, but must be a text"),
        ("bits=4", "a dict of values by fields"),
        ({"bits": ()}, "bits has no values"),
        ({"seed": (1, 2, 1)}, "seed has the value 1 twice"),
        ({"bits": (4, 9)}, "bits is 9"),
        ({"rounding": ("learnt",)}, "rounding is 'learnt'"),
        ({"seed": ("x",)}, "seed is 'x', but must be a whole number"),
        ({"seed": range(2000)}, "2,000 recipes, and 1,000 may be tried"),
        ({}, "nothing to vary"),
    ],
)
def test_what_cannot_be(fields, said):
    """Before anything is compiled, and by name."""
    with pytest.raises(OptionError) as caught:
        variations(Recipe(), fields)
    assert said in str(caught.value)
