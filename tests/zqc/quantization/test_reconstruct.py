"""Weights and biases that make up for the errors of everything before them."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import QuantizeActivations, QuantizeWeights
from passes.analysis.topology import weighted_layers
from passes.arithmetic import Grid
from passes.graph import constant, with_outputs
from passes.qdq import dequantized_constant
from tests.calibration import GivenBatches
from tests.passes.helpers import build_model, run_model
from tests.tasks import Counter
from zqc.calibration.second_moments import input_columns
from zqc.progress import Silent
from zqc.quantization.reconstruct import RIDGE, reconstruct, refitted

NETWORK = """(float[n,4,8,8] x) => (float[n,6,8,8] y, float[n,4,8,8] z) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b0)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1], group=2>(b, w1)
    d = Relu(c)
    e = Conv<pads=[1,1,1,1], group=8>(d, w2, b2)
    f = Relu(e)
    g = Conv(f, w3, b3)
    y = Relu(g)
    z = Conv(b, w4)
}"""
SIGNED, UNSIGNED = Grid(2, 8, True), Grid(1, 4, False)
GRIDS = {"x": SIGNED} | dict.fromkeys("bdf", UNSIGNED)


def network(rng):
    """A plain, a grouped and a depthwise Conv in a row, and one beside; and what it is fed."""

    def normal(*shape):
        return rng.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    model = build_model(
        NETWORK,
        w0=normal(8, 4, 3, 3),
        b0=normal(8) / 4,
        w1=normal(8, 4, 3, 3),
        w2=normal(8, 1, 3, 3),
        b2=normal(8) / 4,
        w3=normal(6, 8, 1, 1),
        b3=normal(6) / 4,
        w4=normal(4, 8, 1, 1),
    )
    return model, [rng.normal(size=(4, 4, 8, 8)).astype(np.float32) for _ in range(4)]


def with_grids(model, grids):
    """A copy with quantized tensors and float weights."""
    copy = model.clone()
    QuantizeActivations(grids)(copy)
    return copy


def reconstructed(model, batches, *, grids=GRIDS, refit=True, task=None, **options):
    """Reconstruct on one thread, with 100 positions a picture."""
    options = {"samples": 100, "threads": 1} | options
    with Silent().task("", 0) as silent:
        return reconstruct(
            model,
            with_grids(model, grids),
            GivenBatches(*batches),
            refit=refit,
            task=task or silent,
            **options,
        )


def integers_of(model):
    """The integers of each layer's weight, by the layer's name; none of float weights."""
    found = {}
    for node in weighted_layers(model.graph):
        dequantize = node.inputs[1].producer()
        found[node.name] = None if dequantize is None else dequantize.inputs[0].const_value
    return found


def errors(model, quantized, tensors, batches):
    """Mean squared and largest mean error per channel of tensors, in units of their deviation."""
    x = np.concatenate(batches)
    exact, rounded = (run_model(with_outputs(m, tensors), x=x) for m in (model, quantized))
    found = {}
    for name in tensors:
        expected, error = exact[name], rounded[name].astype(np.float64) - exact[name]
        shift = np.abs(error.mean(axis=(0, *range(2, error.ndim)))).max()
        found[name] = np.mean(error**2) / expected.var(), shift / expected.std()
    return found


@pytest.mark.parametrize("groups", [1, 3])
def test_the_refit_is_the_ridge_regression(rng, groups):
    """It equals the least-squares solution of numpy on the samples, with the ridge as more rows."""
    size, samples = 5, 40
    weight = rng.normal(size=(groups, 1, 4, size))
    x = rng.normal(size=(groups, 1, size, samples))
    y = x + rng.normal(0, 0.5, x.shape)
    x, y = (part - part.mean(axis=-1, keepdims=True) for part in (x, y))
    turned = y.swapaxes(-1, -2) / samples
    found = refitted(weight, y @ turned, (x - y) @ turned)
    for g in range(groups):
        strength = np.sqrt(RIDGE * np.mean(y[g, 0] ** 2) * samples)
        rows = np.concatenate([y[g, 0].T, strength * np.eye(size)])
        targets = np.concatenate([x[g, 0].T, strength * np.eye(size)]) @ weight[g, 0].T
        expected = np.linalg.lstsq(rows, targets, rcond=None)[0].T
        np.testing.assert_allclose(found[g, 0], expected, rtol=1e-9)
    assert np.abs(found - weight).max() > 0.05


def test_inputs_that_never_change_leave_the_weights(rng):
    """Where nothing was seen, or all the same, nothing is divided by zero."""
    weight = rng.normal(size=(2, 1, 3, 4))
    nothing = np.zeros((2, 1, 4, 4))
    np.testing.assert_array_equal(refitted(weight, nothing, nothing), weight)


def test_a_layer_gets_the_regression_of_its_output(rng):
    """Weights are the rounded ridge regression of Wx on x̂, the bias makes the means equal.

    The regression is numpy's, on the same samples; a weight is off by half a step at most, the bias
    by half of its own step.
    """
    call, shape = "Conv<pads=[1,1,1,1]>", (5, 3, 3, 3)
    weight = rng.normal(size=shape).astype(np.float32)
    model = build_model(
        f"(float[n,3,6,6] x) => (float[n,5,6,6] y) {{ y = {call}(x, w) }}", w=weight
    )
    grid = Grid(1, 4, True)
    batch = rng.normal(0.4, 1, (6, 3, 6, 6)).astype(np.float32)
    quantized = reconstructed(model, [batch], grids={"x": grid}, compensate=False, seed=3)
    positions = np.random.default_rng(3).random(100 * len(batch))
    x, y = (
        input_columns(model.graph[0], values, positions)[0, 0].T.astype(np.float64)
        for values in (batch, grid.nearest(batch))
    )
    flat = weight.reshape(5, -1).astype(np.float64)
    strength = np.sqrt(RIDGE * np.mean(y.var(axis=0)) * len(y))
    identity = strength * np.eye(27)
    rows = np.concatenate([y - y.mean(0), identity])
    targets = np.concatenate([x - x.mean(0), identity]) @ flat.T
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0].T
    (node,) = weighted_layers(quantized.graph)
    integers, steps = (v.const_value.numpy() for v in node.inputs[1].producer().inputs[:2])
    found = integers.reshape(5, -1) * steps[:, None].astype(np.float64)
    assert np.abs((found - expected) / steps[:, None]).max() < 0.501
    assert np.abs((found - flat) / steps[:, None]).max() > 2
    integers, bias_steps = (v.const_value.numpy() for v in node.inputs[2].producer().inputs[:2])
    bias = flat @ x.mean(0) - found @ y.mean(0)
    assert np.abs((integers * bias_steps.astype(np.float64) - bias) / bias_steps).max() < 0.51


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_outputs_come_nearer_to_the_float_model(rng, bits):
    """Layers have a smaller error in their outputs than plainly rounded ones, most by a fifth."""
    model, batches = network(rng)
    plain = with_grids(model, GRIDS)
    QuantizeWeights(bits=bits)(plain)
    tensors = ["c", "e", "g", "z"]
    before = errors(model, plain, tensors, batches)
    after = errors(model, reconstructed(model, batches, bits=bits), tensors, batches)
    assert all(after[name][0] < before[name][0] for name in tensors)
    assert all(after[name][0] < 0.8 * before[name][0] for name in "cez")


@pytest.mark.parametrize("refit", [False, True])
def test_outputs_have_the_means_of_the_float_model(rng, refit):
    """Channels of every layer, ConvTranspose among them, keep their means over the pictures.

    What is left is the sampling of positions: at most 0.03 deviations, plainly more than 0.1.
    """
    model = build_model(
        """(float[n,4,8,8] x) => (float[n,2,32,32] y) { a = Conv(x, w0) b = Relu(a)
            c = ConvTranspose<strides=[2,2]>(b, w1) d = Relu(c)
            y = ConvTranspose<strides=[2,2], group=2>(d, w2, b2) }""",
        w0=rng.normal(0, 0.5, (8, 4, 1, 1)).astype(np.float32),
        w1=rng.normal(0, 0.5, (8, 4, 2, 2)).astype(np.float32),
        w2=rng.normal(0, 0.5, (4, 1, 2, 2)).astype(np.float32),
        b2=rng.normal(size=2).astype(np.float32),
    )
    grids = {"x": SIGNED, "b": Grid(-1, 4, False), "d": Grid(-2, 4, False)}
    batches = [rng.normal(size=(8, 4, 8, 8)).astype(np.float32)]
    plain = with_grids(model, grids)
    QuantizeWeights(bits=4)(plain)
    options = {"bits": 4, "refit": refit, "samples": 2000}
    found = errors(
        model, reconstructed(model, batches, grids=grids, **options), ["a", "c", "y"], batches
    )
    assert max(shift for _, shift in found.values()) < 0.03
    assert max(s for _, s in errors(model, plain, ["a", "c", "y"], batches).values()) > 0.1


def test_bits_are_as_asked_for(rng):
    """Inner, edge and single layers have their own bits; a kept layer stays float."""
    model, batches = network(rng)
    quantized = reconstructed(
        model, batches, bits=3, bits_of={"make_e": 5}, excluded={"make_z"}, first_last_bits=8
    )
    found = integers_of(quantized)
    assert found["make_z"] is None
    largest = {}
    for name, tensor in found.items():
        if tensor is not None:
            numbers = tensor.numpy().astype(int)
            largest[name] = tensor.dtype, numbers.min() >= 0, max(-numbers.min(), numbers.max() + 1)
    int4, int8 = ir.DataType.INT4, ir.DataType.INT8
    assert {name: kind for name, (kind, _, _) in largest.items()} == {
        "make_a": int8,
        "make_c": int4,
        "make_e": int8,
        "make_g": int8,
    }
    bounds = {"make_a": (17, 128), "make_c": (3, 4), "make_e": (9, 16), "make_g": (17, 128)}
    for name, (low, high) in bounds.items():
        assert low <= largest[name][2] <= high, name
    onnx.checker.check_model(ir.to_proto(quantized), full_check=True)


def test_integers_are_those_that_were_looked_at(rng):
    """What is written down in the end is on the same grid: rounding it again changes nothing.

    A second reconstruction of the first layer alone, all other layers in float, gives it the same
    weights: no layer depends on what comes later.
    """
    model, batches = network(rng)
    whole = integers_of(reconstructed(model, batches, bits=4))
    others = {"make_c", "make_e", "make_g", "make_z"}
    alone = integers_of(reconstructed(model, batches, bits=4, excluded=others))
    np.testing.assert_array_equal(whole["make_a"].numpy(), alone["make_a"].numpy())


def test_the_same_seed_gives_the_same_bytes(rng):
    """Two runs write the same model, another seed another one, and the models given stay."""
    model, batches = network(rng)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    first, second, other = (
        ir.to_proto(reconstructed(model, batches, bits=4, seed=seed)).SerializeToString(
            deterministic=True
        )
        for seed in (1, 1, 2)
    )
    assert first == second != other
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_pictures_are_read_once_for_all_layers(rng):
    """The network has four layers in a row and one beside: one reading, and all are counted."""
    model, batches = network(rng)
    rounds, task = [], Counter()

    class Read(GivenBatches):
        def __iter__(self):
            rounds.append(0)
            for batch in self.arrays:
                rounds[-1] += len(batch)
                yield batch

    quantized = with_grids(model, GRIDS)
    reconstruct(model, quantized, Read(*batches * 10), refit=True, samples=20, task=task, threads=1)
    assert rounds == [64]
    assert task.steps == 5


def test_layers_that_cannot_change_are_only_rounded(rng):
    """A MatMul and the expectation over bins have the integers of plain rounding, no new bias."""
    model = build_model(
        """(float[n,8] x) => (float[n,2] z) {
            a = Gemm(x, w0, b0) p = Softmax(a) c = MatMul(p, w1)
            d = Softmax(c) y = Gemm(d, w2) r = Relu(y) z = MatMul(r, w3) }""",
        w0=rng.normal(size=(8, 8)).astype(np.float32),
        b0=rng.normal(size=8).astype(np.float32),
        w1=rng.normal(size=(8, 6)).astype(np.float32),
        w2=np.arange(6, dtype=np.float32).reshape(6, 1),
        w3=rng.normal(size=(1, 2)).astype(np.float32),
    )
    grids = {"x": Grid(1, 4, True)} | dict.fromkeys("pdr", Grid(0, 4, False))
    plain = with_grids(model, grids)
    QuantizeWeights(bits=4)(plain)
    batches = [rng.normal(size=(16, 8)).astype(np.float32)]
    quantized = reconstructed(model, batches, grids=grids, bits=4)
    expected, found = integers_of(plain), integers_of(quantized)
    for name in ("make_c", "make_y"):
        np.testing.assert_array_equal(found[name].numpy(), expected[name].numpy())
    assert np.any(found["make_a"].numpy() != expected["make_a"].numpy())
    assert [len(node.inputs) for node in weighted_layers(quantized.graph)] == [3, 2, 2, 2]


def test_a_shared_weight_stays_one(rng):
    """Layers that share weight and bias get one weight, and a bias each for their own errors."""
    model = build_model(
        """(float[n,4,6,6] x) => (float[n,4,6,6] y) {
            a = Conv(x, w, b) r = Relu(a) y = Conv(r, w, b) }""",
        w=rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        b=rng.normal(size=4).astype(np.float32),
    )
    grids = {"x": Grid(0, 4, True), "r": UNSIGNED}
    batches = [rng.normal(size=(8, 4, 6, 6)).astype(np.float32)]
    quantized = reconstructed(model, batches, grids=grids)
    first, second = integers_of(quantized).values()
    assert first is second
    biases = [n.inputs[2].producer().inputs[0] for n in quantized.graph if n.op_type == "Conv"]
    assert np.any(constant(biases[0]) != constant(biases[1]))
    exact = errors(model, quantized, ["a", "y"], batches)
    plain = with_grids(model, grids)
    QuantizeWeights()(plain)
    rounded = errors(model, plain, ["a", "y"], batches)
    assert all(exact[name][0] < rounded[name][0] for name in exact)


def test_layers_behind_a_selection_are_only_rounded(rng):
    """Of what TopK picks, a row of the float model is not the same row of the quantized one."""
    text = """(float[n,16,4] x) => (float[n,3,6] y) {
        f = Reshape(x, rows) g = Gemm(f, w0, b0) a = Reshape(g, queries)
        best = ReduceMax<keepdims=0>(a, last) values, places = TopK<axis=1>(best, three)
        column = Unsqueeze(places, last) wide = Expand(column, four)
        picked = GatherElements<axis=1>(a, wide)
        q = Reshape(picked, rows) h = Gemm(q, w1, b1) y = Reshape(h, found)
    }"""
    integers = {
        "rows": [-1, 4],
        "queries": [-1, 16, 4],
        "found": [-1, 3, 6],
        "last": [2],
        "three": [3],
        "four": [1, 1, 4],
    }
    weights = {"w0": (4, 4), "b0": (4,), "w1": (4, 6), "b1": (6,)}
    model = build_model(
        text,
        **{name: np.array(values) for name, values in integers.items()},
        **{name: rng.normal(size=shape).astype(np.float32) for name, shape in weights.items()},
    )
    batches = [rng.normal(size=(4, 16, 4)).astype(np.float32) for _ in range(4)]
    result = reconstructed(model, batches, grids={"f": Grid(2, 4, True), "q": SIGNED})
    changes = [
        np.abs(dequantized_constant(twin.inputs[2]) - constant(node.inputs[2])).max()
        for node, twin in zip(*map(weighted_layers, (model.graph, result.graph)), strict=True)
    ]
    assert changes[0] > 1e-2
    assert changes[1] < 3e-4  # half a step
