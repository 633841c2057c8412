"""The terms of the loss as nodes, each against numpy or PyTorch."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx_ir.tape import Tape

from tests.zqc.synthesis import pytorch_twin as twin
from zqc.recipe.recipe import TERMS
from zqc.runtime import session
from zqc.statistics.batchnorm import LayerStatistics
from zqc.synthesis import loss
from zqc.synthesis.matching import Targets

SHAPES = ((3, 4, 5, 6), (3, 2), (3, 5, 7))
"""Values of a Conv, of a Gemm and of a Conv of one dimension."""
CHANNELS = 11


def tensor(name, shape):
    """A float input."""
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def computed(emit, *arrays, opset=17):
    """Run what ``emit(tape, *values)`` makes of inputs: one value or a list of them."""
    inputs = [tensor(f"in{index}", array.shape) for index, array in enumerate(arrays)]
    graph = ir.Graph(inputs, [], nodes=[], opset_imports={"": opset}, name="terms")
    made = emit(Tape(graph), *inputs)
    outputs = [made] if isinstance(made, ir.Value) else list(made)
    for index, value in enumerate(outputs):
        value.name, value.type = f"out{index}", ir.TensorType(ir.DataType.FLOAT)
    graph.outputs.extend(outputs)
    feeds = {f"in{index}": array.astype("f") for index, array in enumerate(arrays)}
    found = list(session.load(ir.Model(graph, ir_version=8), threads=1)(feeds).values())
    return found[0] if isinstance(made, ir.Value) else found


@pytest.fixture
def values(rng):
    """Values of each layer."""
    return [rng.normal(0.5, 1, shape).astype(np.float32) for shape in SHAPES]


@pytest.fixture
def layers(rng):
    """Statistics of each layer."""
    return [
        LayerStatistics(f"n{i}", rng.normal(size=shape[1]), rng.uniform(0.3, 2, shape[1]))
        for i, shape in enumerate(SHAPES)
    ]


def reduced(values, power, reduce):
    """A reduction of powers per channel, all layers in a row, in float64."""
    parts = [reduce(v.astype(float) ** power, axis=(0, *range(2, v.ndim))) for v in values]
    return np.concatenate(parts)


def test_sums_are_those_of_numpy(values):
    """Σ x and Σ x² per channel, for layers of rank 2, 3 and 4 (1e-5)."""
    got = computed(lambda tape, *inputs: loss.sums(tape, inputs), *values)
    for power, found in enumerate(got, start=1):
        np.testing.assert_allclose(found, reduced(values, power, np.sum), rtol=1e-5, atol=1e-4)


def test_contributions_are_shares_of_the_means_of_the_set(values):
    """Three of ten pictures contribute three tenths of their own means (1e-5)."""

    def emit(tape, *inputs):
        return loss.contributions(tape, inputs, loss.sums(tape, inputs), batch=3, pictures=10)

    for power, found in enumerate(computed(emit, *values), start=1):
        expected = 0.3 * reduced(values, power, np.mean)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("terms", TERMS)
def test_the_pooled_loss_is_that_of_the_targets(rng, layers, terms):
    """Own and other contributions together, as ``Targets.loss`` has it in float64 (1e-5)."""
    targets = Targets.of(layers, terms, 3.0)
    own, other = rng.normal(size=(2, 2, CHANNELS))
    own[1], other[1] = 4 + own[1] ** 2, 4 + other[1] ** 2
    got = computed(
        lambda tape, a, b, c, d: loss.pooled(tape, (a, b), (c, d), targets), *own, *other
    )
    assert got == pytest.approx(targets.loss(*(own + other)), rel=1e-5)


@pytest.mark.parametrize("chosen", [(0,), (1,), (0, 1, 2)])
def test_what_enters_a_layer_is_the_gradient_of_its_sums(rng, values, chosen):
    """Slope of Σ x plus 2x times that of Σ x², at every position (1e-6)."""
    some = [values[index] for index in chosen]
    count = sum(value.shape[1] for value in some)
    slopes = rng.normal(size=(2, count))

    def emit(tape, first, second, *inputs):
        return loss.entering(tape, inputs, (first, second)).values()

    start = 0
    for value, found in zip(some, computed(emit, *slopes, *some), strict=True):
        first, second = (
            slope[start : start + value.shape[1]].reshape(1, -1, *[1] * (value.ndim - 2))
            for slope in slopes
        )
        start += value.shape[1]
        np.testing.assert_allclose(found, first + 2 * second * value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [13, 18])
def test_stretching_is_the_negative_range_of_each_picture(values, opset):
    """Σ over outputs and pictures of min − max, whatever the rank of an output (1e-6)."""
    got = computed(lambda tape, *v: loss.stretch(tape, v, [], None), *values, opset=opset)
    expected = -sum(np.ptp(value.reshape(3, -1), axis=1).sum() for value in values)
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("far", [0.0, 1.0, 3.0])
def test_stretching_is_held_back_by_pictures_that_are_implausible(rng, layers, far):
    """Only what a picture's mean and deviation are off beyond the tolerance counts (1e-5)."""
    layer = layers[0]
    output = rng.normal(size=(3, 2, 4, 4))
    noise = rng.normal(size=SHAPES[0])
    noise = (noise - noise.mean((2, 3), keepdims=True)) / noise.std((2, 3), keepdims=True)
    shift = far * np.arange(3).reshape(3, 1, 1, 1)
    channel = (1, -1, 1, 1)
    value = layer.mean.reshape(channel) + (noise + shift) * layer.deviation.reshape(channel)
    targets = Targets.of(layers)

    def emit(tape, raw, before):
        return loss.stretch(tape, [raw], [(before, slice(0, 4))], targets)

    raw, before = (torch.tensor(a.astype("f"), dtype=torch.float64) for a in (output, value))
    stored = (torch.tensor(a) for a in (layer.mean, layer.deviation, layer.unit))
    expected = twin.stretch_loss([raw], [(before, *stored)], 1).item()
    ranges = -np.ptp(output.reshape(3, -1), axis=1).sum()
    assert computed(emit, output, value) == pytest.approx(expected, rel=1e-5)
    assert (expected - ranges > 0.1) == (far > 0)  # plausible pictures are not held back


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 1, 1, 4), (1, 2, 6, 1)])
def test_variation_is_that_of_pytorch(rng, shape):
    """Squared differences of neighbours, per pixel of a picture (1e-5)."""
    pictures = rng.uniform(0, 1, shape)
    got = computed(loss.variation, pictures)
    expected = twin.variation_loss(torch.tensor(pictures), 1).item()
    assert got == pytest.approx(expected, rel=1e-5)
