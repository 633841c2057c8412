"""Both models run on the same pictures."""

import math

import numpy as np
import pytest

from passes.analysis.topology import weighted_layers
from passes.layers import layer_of
from tests.diagnosed import LAYERS, canonical, quantized, scaled_output, tensors
from tests.passes.helpers import run_model
from tests.tasks import Counter
from zqc.diagnosis.counterparts import matches
from zqc.diagnosis.inner_tensors import exposing
from zqc.diagnosis.read_quantized import read
from zqc.diagnosis.side_by_side import decibels, observe
from zqc.quantization.prepare import prepare


def observed(model):
    """The float net beside a quantized one, on two batches."""
    loaded, plan, _ = quantized(bits=8)
    net = prepare(loaded.model, plan)
    layers = [layer_of(node) for node in weighted_layers(net.graph)]
    found = read(model, {"images": tensors()})
    task = Counter()
    seen = observe(
        net,
        found,
        matches(layers, found.layers),
        dict.fromkeys(LAYERS, ()),
        [tensors()[:2], tensors()[2:]],
        feeds=lambda batch: {"images": batch},
        task=task,
        threads=1,
    )
    assert task.steps == 4
    return net, found, seen


def test_decibels():
    """Ten times as much signal as noise is 10 dB."""
    assert decibels(10.0, 1.0) == pytest.approx(10)
    assert decibels(1.0, 0.0) == math.inf
    assert decibels(0.0, 1.0) == -math.inf
    assert math.isnan(decibels(0.0, 0.0))


def test_the_cumulative_error_is_that_of_the_tensors():
    """As both models give them, run apart."""
    net, found, seen = observed(canonical(bits=8))
    name = next(n for n in weighted_layers(net.graph) if n.name == "deep").outputs[0].name
    other = next(x for x in found.layers if x.node.name == "deep").node.outputs[0].name
    x = run_model(exposing(net, [name]), images=tensors())[name].astype(np.float64)
    y = run_model(exposing(found.model, [other]), images=tensors())[other]
    expected = 10 * np.log10(np.sum(x**2) / np.sum((x - y) ** 2))
    assert seen.sums["deep"].cumulative_db == pytest.approx(expected, abs=1e-6)


def test_the_local_error_knows_nothing_of_the_layers_before():
    """A coarse output of the stem harms what follows, but not what that does."""
    before = observed(canonical(bits=8))[2].sums["depthwise"]
    after = observed(scaled_output(canonical(bits=8), "stem", 8))[2].sums["depthwise"]
    assert after.cumulative_db < before.cumulative_db - 6
    assert after.local_db > before.local_db - 3


def test_clipped_values_are_counted():
    """Most of them lie beyond an eighth of the range, none beyond the range."""
    assert observed(canonical(bits=8))[2].sums["stem"].clipped < 0.01
    clipped = observed(scaled_output(canonical(bits=8), "stem", 1 / 8))[2].sums["stem"].clipped
    assert clipped > 0.2


def test_outputs_and_heads_are_kept():
    """Those of the quantized model in the units of the float one; others are off by half."""
    net, _, seen = observed(canonical(bits=8))
    assert [set(outputs) for outputs in seen.got] == [{"boxes", "scores"}] * 2
    heads = {n.outputs[0].name for n in weighted_layers(net.graph) if "head" in n.name}
    assert set(seen.heads[0]) == heads
    exact = run_model(exposing(net, sorted(heads)), images=tensors()[:2])
    for name in heads:
        off = np.linalg.norm(seen.heads[0][name] - exact[name]) / np.linalg.norm(exact[name])
        assert off < 0.1
