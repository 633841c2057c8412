"""The layers of both models side by side."""

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from tests.diagnosed import LAYERS, canonical, quantized, tensors
from tests.passes.helpers import build_model
from zqc.diagnosis.layer_pairs import layer_pairs
from zqc.diagnosis.read_quantized import read
from zqc.errors import ModelError
from zqc.quantization.prepare import prepare

FEEDS = {"images": tensors()}


def float_net():
    """The prepared float net."""
    loaded, plan, _ = quantized(bits=8)
    return prepare(loaded.model, plan)


def test_every_layer_has_its_counterpart_and_its_places():
    """In graph order; the tensors are those of the float model."""
    model = float_net()
    pairs = layer_pairs(model, read(canonical(bits=8), FEEDS), "q.onnx")
    assert [match.layer.node.name for match in pairs.found] == list(LAYERS)
    assert [match.quantized.node.name for match in pairs.found] == list(LAYERS)
    assert set(pairs.places) == set(LAYERS)
    assert pairs.not_found == ()
    known = {value.name for node in model.graph for value in node.outputs} | {"images"}
    assert {place.tensor for places in pairs.places.values() for place in places} <= known


def test_a_rounding_belongs_to_one_layer():
    """The one that it stands behind; only what no layer put out is the reader's, as its input."""
    pairs = layer_pairs(float_net(), read(canonical(bits=8), FEEDS), "q.onnx")
    names = [place.rounding.name for places in pairs.places.values() for place in places]
    assert len(names) == len(set(names))
    read_only = {
        name for name, places in pairs.places.items() for place in places if place.reads_only
    }
    assert "stem" in read_only  # the picture
    assert "depthwise" not in read_only  # the stem's output


def test_layers_without_a_counterpart_are_named():
    """A quantized model that has lost a head."""
    model = canonical(bits=8)
    (scores,) = (value for value in model.graph.outputs if value.name == "scores")
    model.graph.outputs.remove(scores)
    RemoveUnusedNodesPass()(model)
    pairs = layer_pairs(float_net(), read(model, FEEDS), "q.onnx")
    assert pairs.not_found == ("score_head",)
    assert [match.layer.node.name for match in pairs.found] == list(LAYERS[:-1])


def test_another_model_has_nothing_in_common():
    """The error names it, and what to give instead."""
    text = "(float[1,2,4,4] x) => (float[1,3,4,4] y) { y = Conv(x, w) }"
    stranger = build_model(text, w=np.ones((3, 2, 1, 1), np.float32))
    found = read(stranger, {"x": np.zeros((1, 2, 4, 4), np.float32)})
    with pytest.raises(ModelError, match=r"no layer of q\.onnx .*; give the model that it"):
        layer_pairs(float_net(), found, "q.onnx")
