"""What became of every layer, and what each does to the outputs."""

from dataclasses import replace

import pytest

from tests.diagnosed import LAYERS, canonical, quantized, scaled_weight, tensors
from tests.tasks import Counter
from zqc.detection.parts import output_parts
from zqc.diagnosis.effects import Bench
from zqc.diagnosis.layer_diagnoses import layer_diagnoses
from zqc.diagnosis.layer_pairs import layer_pairs
from zqc.diagnosis.read_quantized import read
from zqc.diagnosis.reasons import weights_db
from zqc.diagnosis.side_by_side import observe
from zqc.diagnosis.transplant import with_layer
from zqc.progress import Silent
from zqc.quantization.prepare import prepare


def diagnosed(model):
    """The layers of a quantized model, with what they were found by."""
    loaded, plan, _ = quantized(bits=8)
    net, batches = prepare(loaded.model, plan), [tensors()]
    pair = layer_pairs(net, read(model, {"images": tensors()}), "q.onnx")
    seen = observe(
        net,
        pair.quantized,
        pair.found,
        pair.places,
        batches,
        feeds=lambda batch: {"images": batch},
        task=Counter(),
        threads=1,
    )
    bench = Bench.expecting(seen.expected, output_parts(loaded.model), None)
    bench = replace(bench, batches=tuple(batches))
    return pair, seen, bench, layer_diagnoses(pair, seen, bench, Silent())


def test_every_layer_alone_in_the_float_model():
    """Its effect is that of the float model with this layer, and nothing is out of order."""
    pair, seen, bench, layers = diagnosed(canonical(bits=8))
    assert tuple(layer.name for layer in layers) == LAYERS
    for match, layer in zip(pair.found, layers, strict=True):
        places = pair.places[layer.name]
        changed = with_layer(pair.model, layer.name, match.weight, match.bias, places)
        assert layer.alone.error == pytest.approx(bench.effect(changed).error, rel=1e-6)
        assert layer.possible == layer.alone
        assert (layer.reasons, layer.suspect) == ((), False)
        assert layer.local_db == seen.sums[layer.name].local_db
        assert layer.weights_db == weights_db(match.layer, match.weight)
        assert (layer.weight_bits, layer.act_bits) == (8, 8)


def test_a_layer_that_is_out_of_order_could_be_better():
    """With the same bits, rounded as well as they allow."""
    *_, layers = diagnosed(scaled_weight(canonical(bits=8), "deep", 8))
    deep = next(layer for layer in layers if layer.name == "deep")
    assert deep.suspect
    assert deep.possible.error < deep.alone.error / 100
    assert [layer.name for layer in layers if layer.suspect] == ["deep"]
