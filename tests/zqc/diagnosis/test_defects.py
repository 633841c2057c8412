"""Layers of which no rounding made what they are."""

import pytest

from tests.diagnosed import (
    LAYERS,
    canonical,
    permuted,
    quantized,
    scaled_output,
    scaled_weight,
    tensors,
)
from zqc.diagnosis.defects import defects
from zqc.quantization.prepare import prepare


def found(model):
    """What is out of order with a quantized model of the net."""
    loaded, plan, _ = quantized(bits=8)
    return defects(
        prepare(loaded.model, plan),
        model,
        [tensors()[:2], tensors()[2:]],
        feeds=lambda batch: {"images": batch},
        name="q.onnx",
        threads=1,
    )


@pytest.mark.parametrize("lowered", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_sound_model_has_none(bits, lowered):
    """However few bits its weights have, canonical or as the target has it."""
    model = canonical(bits=bits)
    if lowered:
        model = quantized(bits=bits)[1].target.lower(model)
    assert found(model) == ()


@pytest.mark.parametrize("factor", [8, 1 / 8])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_scale_of_weights_that_is_off(layer, factor):
    """The layer, and no other."""
    (defect,) = found(scaled_weight(canonical(bits=8), layer, factor))
    assert defect.layer == layer
    assert defect.reason.startswith("its weights are ")


def test_a_grid_of_an_output_that_is_off():
    """Eight times too wide, or so narrow that a large share is cut off."""
    for factor, said in ((8, "the scale of its output is "), (1 / 8, "its output is clipped: ")):
        (defect,) = found(scaled_output(canonical(bits=8), "stem", factor))
        assert defect.layer == "stem"
        assert defect.reason.startswith(said)


def test_headroom_is_none():
    """A grid of twice the range may be meant."""
    assert found(scaled_output(canonical(bits=8), "stem", 2)) == ()


def test_several_are_in_graph_order():
    """Each with its own reason."""
    model = permuted(scaled_weight(canonical(bits=8), "score_head", 8), "stem")
    assert [defect.layer for defect in found(model)] == ["stem", "score_head"]
    assert "in another order" in found(model)[0].reason
