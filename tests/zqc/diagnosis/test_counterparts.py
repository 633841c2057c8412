"""Which layer of a quantized model is which."""

import numpy as np

from passes.analysis.topology import weighted_layers
from passes.layers import layer_of
from tests.diagnosed import LAYERS, canonical, permuted, quantized, scaled_weight, tensors
from zqc.diagnosis.counterparts import channel_gains, matches
from zqc.diagnosis.read_quantized import read
from zqc.quantization.prepare import prepare


def found(model):
    """The layers of the plain float model and what became of them, by name."""
    loaded, plan, _ = quantized(bits=8)
    nodes = weighted_layers(prepare(loaded.model, plan).graph)
    layers = [layer_of(node) for node in nodes]
    quantized_layers = read(model, {"images": tensors()}).layers
    return {match.layer.node.name: match for match in matches(layers, quantized_layers)}


def test_layers_have_their_names_in_common():
    """And their weights, up to rounding: the scales of a head's channels are taken out."""
    matched = found(canonical(bits=8))
    assert set(matched) == set(LAYERS)
    assert {match.found_by for match in matched.values()} == {"name"}
    for match in matched.values():
        off = np.linalg.norm(match.weight - match.layer.weight)
        assert off < 0.05 * np.linalg.norm(match.layer.weight)
        np.testing.assert_allclose(channel_gains(match.layer, match.weight), 1, atol=0.03)


def test_layers_without_names_are_known_by_their_weights():
    """Whatever they are called now."""
    model = canonical(bits=8)
    for node in weighted_layers(model.graph):
        node.name = f"renamed_{node.name}"
    matched = found(model)
    assert {match.found_by for match in matched.values()} == {"weights"}
    assert all(m.quantized.node.name == f"renamed_{name}" for name, m in matched.items())


def test_layers_on_blocks_of_columns_are_read_as_they_were():
    """In the file for ONNX Runtime on x86 the stem computes several columns at a time."""
    _, plan, _ = quantized(bits=8)
    match = found(plan.target.lower(canonical(bits=8)))["stem"]
    assert match.columns is not None
    assert np.abs(match.weight - match.layer.weight).max() < 0.02


def test_gains_are_seen():
    """Eight times the scale is eight times the weights."""
    match = found(scaled_weight(canonical(bits=8), "deep", 8))["deep"]
    np.testing.assert_allclose(channel_gains(match.layer, match.weight), 8, rtol=0.05)


def test_a_permuted_layer_keeps_its_name():
    """Its channels are not its own any more."""
    match = found(permuted(canonical(bits=8), "deep"))["deep"]
    assert np.abs(channel_gains(match.layer, match.weight)).max() < 0.9
