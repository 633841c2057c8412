"""In which layer a quantized model parts from its float model, and why."""

import numpy as np
import pytest

from tests import nets
from tests.diagnosed import (
    LAYERS,
    RANGE,
    canonical,
    joined_outputs,
    permuted,
    proto,
    quantized,
    scaled_output,
    scaled_weight,
    swapped_outputs,
    tensors,
)
from zqc.commands.debug import debug
from zqc.errors import ModelError


def debugged(model, **options):
    """Compare a model with the float net, on the pictures that it was calibrated with."""
    options = {"images": tensors(), "input_format": RANGE, "threads": 1} | options
    return debug(proto(), model, **options)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_sound_model_has_no_culprit(bits):
    """Not with 4 bits either, which harm without anything being wrong."""
    result = debugged(canonical(bits=bits))
    assert not any(layer.suspect or layer.severe for layer in result.layers)
    assert result.verdict.startswith("no layer is out of order for the bits it has")
    assert [layer.name for layer in result.layers] == list(LAYERS)
    assert not result.not_found
    harms = [layer.alone.error for layer in result.ranked]
    assert harms == sorted(harms, reverse=True)


@pytest.mark.parametrize("factor", [8, 1 / 8])
@pytest.mark.parametrize("layer", ["stem", "depthwise", "deep", "score_head"])
def test_a_wrong_scale_of_weights_names_the_layer(layer, factor):
    """First, with the factor."""
    result = debugged(scaled_weight(canonical(bits=8), layer, factor))
    assert result.ranked[0].name == layer
    assert result.ranked[0].suspect
    assert result.ranked[0].weight_gain == pytest.approx(factor, rel=0.1)
    assert f"{layer}: its weights are " in result.verdict


@pytest.mark.parametrize("factor", [8, 1 / 8])
@pytest.mark.parametrize("layer", ["stem", "deep", "shortcut"])
def test_a_wrong_scale_of_an_output_names_the_layer(layer, factor):
    """A coarse grid or a clipped one, of the layer that it stands behind."""
    result = debugged(scaled_output(canonical(bits=8), layer, factor))
    assert result.ranked[0].name == layer
    assert ("is clipped" if factor < 1 else "the scale of its output") in result.verdict


def test_a_permuted_head_is_named():
    """And that its channels are in another order."""
    result = debugged(permuted(canonical(bits=8), "score_head"))
    assert result.ranked[0].name == "score_head"
    assert "in another order" in result.verdict


def test_what_is_wrong_behind_the_layers_names_the_last_ones():
    """Halves of the boxes swapped: every layer is as it should be."""
    result = debugged(swapped_outputs(canonical(bits=8)))
    assert result.ranked[0].name in ("box_head", "score_head")
    assert "no layer is out of order, but what is computed behind" in result.verdict


def test_an_output_that_is_quantized_as_a_whole_is_named():
    """In steps that nothing is left of: as tools do that put boxes and scores on one scale."""
    result = debugged(joined_outputs(canonical(bits=8), 64.0))
    assert result.ranked[0].name in ("box_head", "score_head")
    assert "is quantized there as a whole, in steps of 64" in result.verdict


def test_a_file_is_read_as_well_as_the_canonical_model():
    """What the target made of it changes nothing that is said."""
    _, plan, _ = quantized(bits=4)
    one = debugged(canonical(bits=4))
    other = debugged(plan.target.lower(canonical(bits=4)))
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    for before, after in zip(one.layers, other.layers, strict=True):
        assert after.alone.error == pytest.approx(before.alone.error, rel=0.05, abs=1e-9)
        assert after.cumulative_db == pytest.approx(before.cumulative_db, abs=0.1)
        assert after.local_db == pytest.approx(before.local_db, abs=0.1)


def test_a_layer_is_described():
    """Bits, thresholds, what is cut off, and a histogram of what it puts out."""
    layer = next(x for x in debugged(canonical(bits=4)).layers if x.name == "deep")
    assert (layer.weight_bits, layer.act_bits, layer.found_by) == (4, 8, "name")
    grids = quantized(bits=4)[2].candidate.ranges.grids
    assert layer.output_exponent == pytest.approx(grids["r3"].exponent)
    assert 0 <= layer.clipped < 0.01
    assert sum(layer.histogram.counts) == 4 * 16 * 16
    assert layer.local_db > layer.cumulative_db - 1


def test_without_pictures_noise_will_do():
    """The net has no BatchNorm, so there is nothing to synthesise from."""
    assert "structured noise" in debugged(canonical(bits=8), images=None).pictures


def test_another_model_is_refused():
    """Nothing of it is in the float model."""
    text = "net (float[N, 3, 16, 16] images) => (float[N, 5, 16, 16] y) { y = Conv (images, w) }"
    stranger = nets.model(text, w=np.ones((5, 3, 1, 1), np.float32))
    with pytest.raises(ModelError, match="has anything in common with the float model"):
        debugged(stranger)
