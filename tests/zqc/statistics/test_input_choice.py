"""Which input format a command works with."""

import pytest

from tests.passes.helpers import build_model
from tests.zqc.statistics.small_nets import untrained
from zqc.errors import OptionError
from zqc.model_io import model_file
from zqc.pictures.input_format import InputFormat
from zqc.statistics.batchnorm import harvest
from zqc.statistics.input_choice import InputChoice, choose_input_format
from zqc.statistics.network import fold_batchnorm


@pytest.fixture
def model(detector_file):
    """A detector for pixels in 0…1."""
    return model_file.load(detector_file).model


def test_the_given_format_is_taken(model):
    """What the options say is not questioned."""
    given = InputFormat.from_range(0, 255, bgr=True)
    chosen = choose_input_format(model, asked=given)
    assert chosen == (given, InputChoice("0:255, BGR", "given"))


def test_what_is_found_is_taken(model):
    """The choice tells how it came about and how to say it."""
    form, choice = choose_input_format(model, threads=1)
    assert form == InputFormat()
    assert (choice.name, choice.origin, choice.flags) == ("0:1", "found", "--input-range=0:1")


def test_statistics_from_elsewhere_count_as_the_model_s_own(model):
    """Those of a card are used for a model that has none left."""
    layers = harvest(model)
    folded = model.clone()
    fold_batchnorm(folded)
    assert choose_input_format(folded, threads=1)[1].origin == "assumed"
    assert choose_input_format(model, layers, threads=1)[1].origin == "found"
    assert choose_input_format(model, (), threads=1)[1].origin == "assumed"


def test_without_statistics_it_is_assumed():
    """A model without BatchNorm gets 0:1 as ever, in the order that is given."""
    model = build_model("(float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Relu(x) }")
    assert choose_input_format(model) == (InputFormat(), InputChoice("0:1", "assumed"))
    _, choice = choose_input_format(model, asked="BGR")
    assert choice == InputChoice("0:1, BGR", "assumed")


def test_a_doubt_matters_where_pixels_are_read(rng):
    """It is an error, but not for ready tensors."""
    model = untrained(rng)
    with pytest.raises(OptionError):
        choose_input_format(model, threads=1)
    assert choose_input_format(model, ask=False, threads=1)[1].origin == "assumed"
