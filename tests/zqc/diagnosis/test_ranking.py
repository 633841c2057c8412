"""The culprit first."""

import math

from zqc.diagnosis.effects import Effect
from zqc.diagnosis.ranking import avoidable, is_behind, parts_at, ranked, with_suspects
from zqc.diagnosis.results import LayerDiagnosis


def layer(name, alone, possible=None, *, reasons=(), severe=False, cumulative=30.0):
    """A layer that harms by so many dB, and could harm by so many."""
    return LayerDiagnosis(
        name,
        "Conv",
        name,
        "name",
        *(9, 8, 8),
        1.0,
        40.0,
        (0.0, 0.0),
        *(math.nan, math.nan, math.nan),
        None,
        40.0,
        cumulative,
        Effect(boxes_db=alone),
        Effect(boxes_db=alone if possible is None else possible),
        reasons,
        severe,
    )


def names(layers):
    """Their names."""
    return [each.name for each in layers]


def test_what_is_out_of_order_and_harms_comes_first():
    """Then what is clearly out of order without harm, then the rest by harm."""
    layers = [
        layer("fine", 30.0),
        layer("weak", 20.0),
        layer("odd", 60.0, 80.0, reasons=("wrong",), severe=True),
        layer("broken", 5.0, 40.0, reasons=("wrong",)),
        layer("wide", 50.0, 60.0, reasons=("a little wide",)),
    ]
    found = ranked(with_suspects(layers, {}))
    assert names(found) == ["broken", "odd", "weak", "fine", "wide"]
    assert [each.suspect for each in found] == [True, False, False, False, False]


def test_a_bias_with_the_scale_of_a_wrong_input_is_excused():
    """The layer whose output is on that scale is the culprit."""
    layers = [
        layer("first", 10.0, 40.0, reasons=("its output",)),
        layer("second", 5.0, 40.0, reasons=("its bias",)),
    ]
    assert names(ranked(with_suspects(layers, {"second": "first"}))) == ["first", "second"]
    assert names(ranked(with_suspects(layers, {}))) == ["second", "first"]


def test_harm_that_the_bits_cannot_spare_is_no_fault():
    """However large it is."""
    (found,) = with_suspects([layer("weak", 3.0, 4.0, reasons=("clipped",))], {})
    assert not found.suspect
    assert avoidable(found) > 0


def test_what_is_behind_the_layers_shows_in_the_outputs_alone():
    """The last layers explain 30 dB; the outputs have none."""
    assert is_behind(Effect(boxes_db=0.0), Effect(boxes_db=30.0))
    assert not is_behind(Effect(boxes_db=28.0), Effect(boxes_db=30.0))
    assert not is_behind(Effect(boxes_db=0.0), Effect(boxes_db=2.0))


def test_models_part_where_noise_is_a_sixteenth():
    """The first layers of those, in graph order."""
    layers = [layer("a", 30.0), layer("b", 30.0, cumulative=8.0), layer("c", 30.0, cumulative=3.0)]
    assert parts_at(layers) == ("b", "c")
    assert parts_at(layers, most=1) == ("b",)
