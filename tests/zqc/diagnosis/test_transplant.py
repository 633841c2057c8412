"""A float model with one layer of a quantized one in it."""

from dataclasses import replace

import numpy as np
import pytest

from passes.analysis.topology import weighted_layers
from passes.layers import layer_of
from tests.diagnosed import LAYERS, canonical, quantized, subject, tensors
from tests.passes.helpers import relative_error, run_model
from zqc.diagnosis.counterparts import matches
from zqc.diagnosis.quantized_model import Rounding
from zqc.diagnosis.read_quantized import read
from zqc.diagnosis.transplant import (
    behind_heads,
    best_rounding,
    best_weight,
    placed,
    silu,
    with_layer,
)
from zqc.quantization.prepare import prepare


def pair(bits=8):
    """The float net, and its layers with their counterparts."""
    loaded, plan, _ = quantized(bits=bits)
    model = prepare(loaded.model, plan)
    layers = [layer_of(node) for node in weighted_layers(model.graph)]
    return model, matches(layers, read(canonical(bits=bits), {"images": tensors()}).layers)


def rounding(step, zero=0.0, low=0, high=255):
    """A rounding with one step."""
    array = np.array([step]), np.array([zero])
    return Rounding("q", "x", *array, *array, low, high)


@pytest.mark.parametrize("layer", ["stem", "depthwise", "deep"])
def test_a_transplanted_layer_is_the_layer_alone(layer):
    """As ``Subject.alone`` has it, but for the grid of its input."""
    model, found = pair()
    match = found[LAYERS.index(layer)]
    places = placed(match, match.quantized.outputs, None, {})
    got = run_model(with_layer(model, layer, match.weight, match.bias, places), images=tensors())
    alone = subject(bits=8)[0].alone()[LAYERS.index(layer)]
    own = {value for value in alone.tensors if value != match.layer.node.inputs[0].name}
    variant = type(alone)("alone", alone.layers, frozenset(own))
    expected = run_model(subject(bits=8)[0].quantizable.variant(variant), images=tensors())
    assert relative_error(expected, got) < 1e-5


def test_a_rounding_with_the_scales_of_channels_is_that_of_the_head():
    """The head's channels have steps of their own in the float model."""
    _, found = pair()
    match = found[LAYERS.index("box_head")]
    (place,) = placed(match, match.quantized.outputs, None, {})
    np.testing.assert_array_equal(
        place.rounding.step, match.quantized.outputs[0].step[0] / match.factors
    )


def test_the_best_rounding_is_no_worse(rng):
    """Than any step that was too small or too large, with a zero point of its own."""
    values = rng.normal(1, 1, 4000)
    best = best_rounding(rounding(1.0), values)
    errors = [
        np.sum((tried.nearest(values) - values) ** 2)
        for tried in (best, rounding(0.1, 60), rounding(0.03, 60), rounding(0.005, 100))
    ]
    assert errors[0] == min(errors)
    assert np.sqrt(errors[0] / 4000) < (values.max() - values.min()) / 255


def test_what_is_far_below_zero_does_not_count_through_silu():
    """The best step spends nothing on it."""
    values = np.concatenate([np.linspace(-2, 2, 500), np.full(500, -60.0)])
    plain, through = (best_rounding(rounding(1.0), values, f) for f in (lambda x: x, silu))
    assert through.step[0] < plain.step[0] / 2


@pytest.mark.parametrize("bits", [4, 8])
def test_the_best_weight_has_so_many_bits(bits):
    """It is as near as 4 bits allow: nearer with more."""
    _, found = pair(bits)
    match = found[LAYERS.index("deep")]
    weight = best_weight(match)
    assert len(np.unique(weight[0])) <= 2**bits
    off = np.linalg.norm(weight - match.layer.weight) / np.linalg.norm(match.layer.weight)
    assert (0.005 if bits == 4 else 0) < off < 4 / 2**bits


def test_the_best_weight_has_one_scale_where_the_other_has():
    """It is what is nearest on one grid for all channels."""
    _, found = pair(8)
    match = found[LAYERS.index("deep")]
    one = replace(match, quantized=replace(match.quantized, per_tensor=True))
    step = np.diff(np.unique(best_weight(one))).min()
    assert np.log2(step) == np.rint(np.log2(step))
    np.testing.assert_allclose(best_weight(one) / step, np.rint(best_weight(one) / step))
    exact = match.layer.weight
    assert np.abs(best_weight(one) - exact).sum() >= np.abs(best_weight(match) - exact).sum()


def test_behind_the_heads_is_the_post_processing(rng):
    """Fed with what the heads put out, it gives what the model gives."""
    model, _ = pair()
    heads = {"box_logits", "score_logits"}
    values = {node.name: node.outputs[0].name for node in weighted_layers(model.graph)}
    heads = {values["box_head"], values["score_head"]}
    part = behind_heads(model, heads)
    known = {value.name for value in part.graph.inputs}
    assert {f"{head}_given" for head in heads} <= known
    feeds = {
        f"{head}_given": rng.normal(size=(1, c, 4, 4)).astype(np.float32)
        for head, c in ((values["box_head"], 4), (values["score_head"], 3))
    }
    feeds["images"] = tensors(1)
    got = run_model(part, **{name: array for name, array in feeds.items() if name in known})
    logits = feeds[f"{values['score_head']}_given"]
    np.testing.assert_allclose(got["scores"], 1 / (1 + np.exp(-logits)), rtol=1e-5)
