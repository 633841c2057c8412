"""One view of a layer: what it is made of, and how that is replaced."""

import numpy as np
import pytest

from passes.graph import Namer, constant
from passes.layers import by_weight, layer_of, rescale, scalable_bias, scalable_layer

LAYERS = {
    "Conv": ("Conv(x, w, b)", (6, 4, 3, 3), 4, 6, 0),
    "grouped Conv": ("Conv<group=2>(x, w, b)", (6, 2, 3, 3), 4, 6, 0),
    "ConvTranspose": ("ConvTranspose(x, w, b)", (4, 6, 3, 3), 4, 6, 1),
    "grouped ConvTranspose": ("ConvTranspose<group=2>(x, w, b)", (4, 3, 3, 3), 4, 6, 1),
    "Gemm": ("Gemm(x, w, b)", (4, 6), 4, 6, 1),
    "transposed Gemm": ("Gemm<transB=1>(x, w, b)", (6, 4), 4, 6, 0),
    "MatMul": ("MatMul(x, w)", (4, 6), 4, 6, 1),
}


def model_of(build, rng, kind, **more):
    """A network of one layer, its arrays from a seed."""
    call, shape, _, outputs, _ = LAYERS[kind]
    pictures = "float[2,4,5,5]" if len(shape) == 4 else "float[2,4]"
    rank = "n,c,h,w" if len(shape) == 4 else "n,c"
    arrays = {"w": rng.normal(size=shape).astype(np.float32)}
    if "b" in call.split("(")[1]:
        arrays["b"] = rng.normal(size=outputs).astype(np.float32)
    return build(f"({pictures} x) => (float[{rank}] y) {{ y = {call} }}", **(arrays | more))


@pytest.mark.parametrize("kind", LAYERS)
def test_axes_and_channels(build, rng, kind):
    """Inputs, outputs and their axis, however the operator stores its weight."""
    _, _, inputs, outputs, axis = LAYERS[kind]
    layer = layer_of(model_of(build, rng, kind).graph[0])
    assert (layer.inputs, layer.outputs, layer.output_axis) == (inputs, outputs, axis)


@pytest.mark.parametrize("kind", LAYERS)
def test_factors_of_channels(build, run, rng, kind):
    """Along the outputs a factor scales the output, along the inputs the input: to 1e-5."""
    model = model_of(build, rng, kind)
    layer, name = layer_of(model.graph[0]), Namer(model.graph)
    x = rng.normal(size=(2, 4, *(5, 5)[: 2 * (layer.weight.ndim == 4)])).astype(np.float32)
    before = run(model, x=x)["y"]
    source, target = rng.uniform(1, 4, layer.inputs), rng.uniform(1, 4, layer.outputs)
    factor = layer.along_outputs(target) / layer.along_inputs(source)
    layer.set_weight(layer.weight * factor, name)
    if layer.bias is not None:
        layer.set_bias(layer.bias * target, name)
    spatial = (1,) * (x.ndim - 2)
    after = run(model, x=x * source.reshape(1, -1, *spatial).astype(np.float32))["y"]
    np.testing.assert_allclose(
        after, before * target.reshape(1, -1, *spatial), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind != "MatMul"])
def test_rescaling_is_undone(build, run, rng, kind):
    """Factors of a scalable layer change weight and bias; the old constants stay for others."""
    model = model_of(build, rng, kind)
    layer, name = scalable_layer(model.graph[0]), Namer(model.graph)
    target = rng.uniform(1, 4, layer.outputs)
    rescale([layer], None, target, name)
    after = layer_of(model.graph[0])
    assert (after.weight_value.name, after.bias_value.name) == ("w_2", "b_2")
    np.testing.assert_allclose(after.bias, layer.bias * target, rtol=1e-6)
    np.testing.assert_array_equal(constant(model.graph.initializers["w"]), layer.weight)


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind != "MatMul"])
def test_the_shift_of_the_mean(build, run, rng, kind):
    """A constant input shifts each output by Σ error·mean, but for borders: to 1e-4."""
    model = model_of(build, rng, kind)
    layer = layer_of(model.graph[0])
    mean = rng.normal(size=layer.inputs)
    got = layer.mean_shift(layer.weight, mean)
    if "Transpose" in kind:  # without borders every tap meets every output once
        wide = np.broadcast_to(mean.reshape(1, -1, 1, 1), (1, layer.inputs, 5, 5))
        model.graph.inputs[0].shape = type(model.graph.inputs[0].shape)((1, layer.inputs, 5, 5))
        expected = run(model, x=wide.astype(np.float32))["y"][0, :, 3, 3] - layer.bias
    else:
        size = (5, 5) if layer.weight.ndim == 4 else ()
        wide = np.broadcast_to(mean.reshape(1, -1, *(1,) * len(size)), (2, layer.inputs, *size))
        output = run(model, x=wide.astype(np.float32))["y"][0]
        expected = output.reshape(layer.outputs, -1)[:, 0] - layer.bias
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_biases(build, rng):
    """Zeros without one; none of a MatMul, of a Gemm with β, of a size that fits no channel."""
    bare = build("(float[2,4] x) => (float[n,c] y) { y = Gemm(x, w) }", w=np.ones((4, 3), "f4"))
    assert layer_of(bare.graph[0]).bias_vector().tolist() == [0, 0, 0]
    matmul = layer_of(model_of(build, rng, "MatMul").graph[0])
    assert matmul.bias_vector() is None
    halved = build(
        "(float[2,4] x) => (float[n,c] y) { y = Gemm<beta=0.5>(x, w, b) }",
        w=np.ones((4, 3), "f4"),
        b=np.ones(3, "f4"),
    )
    assert layer_of(halved.graph[0]).bias_vector() is None
    one = model_of(build, rng, "Gemm", b=np.ones(1, np.float32))
    assert layer_of(one.graph[0]).bias_vector() is None


def test_what_is_no_layer(build):
    """Another operator, a computed weight; with a computed bias it is one, but not scalable."""
    model = build(
        """(float[2,4] x, float[4,3] v, float[3] c) => (float[n,c] y, float[n,c] z, float[n,c] t) {
            y = Relu(x)
            z = MatMul(x, v)
            t = Gemm(x, w, c)
        }""",
        w=np.ones((4, 3), np.float32),
    )
    relu, computed, gemm = (layer_of(node) for node in model.graph)
    assert relu is None
    assert computed is None
    assert not gemm.has_constant_bias
    assert scalable_layer(model.graph[2]) is None


def test_scalable_layers(build):
    """Channels by kind of layer; a Gemm bias of one number is one per channel."""
    model = build(
        """(float[2,4] x, float[2,4,5,5] i) => (float[n,c] y, float[n,c,h,w] z, float[n2,c2] t) {
            y = Gemm(x, m, b)
            z = ConvTranspose<group=2>(i, w)
            t = Gemm<transA=1>(x, k)
        }""",
        m=np.ones((4, 3), np.float32),
        b=np.ones(1, np.float32),
        w=np.ones((4, 3, 1, 1), np.float32),
        k=np.ones((2, 3), np.float32),
    )
    gemm, transposed, other = (scalable_layer(node) for node in model.graph)
    assert (gemm.inputs, gemm.outputs, scalable_bias(gemm).shape) == (4, 3, (3,))
    assert (transposed.inputs, transposed.outputs, transposed.bias) == (4, 6, None)
    assert other is None


def test_readers_of_one_weight_are_a_group(build, rng):
    """In the order of the first; a matrix that is read along another axis is on its own."""
    model = build(
        """(float[n,4,h,w] x, float[4,4] v) =>
            (float[n,4,h,w] y, float[n,4,h,w] z, float[4,4] t, float[4,4] u) {
            y = Conv(x, w) a = Relu(x) z = Conv(a, w) t = Gemm(v, m) u = Gemm<transB=1>(v, m) }""",
        w=rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        m=rng.normal(size=(4, 4)).astype(np.float32),
    )
    groups = [[layer.node.outputs[0].name for layer in group] for group in by_weight(model.graph)]
    assert groups == [["y", "z"], ["t"], ["u"]]


def test_readers_of_one_weight_are_rescaled_together(build, run, rng):
    """One new weight for both, and a bias each."""
    model = build(
        """(float[1,4,3,3] x) => (float[n,c,h,w] y, float[n,c,h,w] z) {
            y = Conv(x, w, b) z = Conv(x, w, d) }""",
        w=rng.normal(size=(2, 4, 1, 1)).astype(np.float32),
        b=rng.normal(size=2).astype(np.float32),
        d=rng.normal(size=2).astype(np.float32),
    )
    x = rng.normal(size=(1, 4, 3, 3)).astype(np.float32)
    before = run(model, x=x)
    (group,) = by_weight(model.graph)
    target = np.array([2.0, 0.5])
    rescale(group, None, target, Namer(model.graph))
    first, second = model.graph
    assert first.inputs[1] is second.inputs[1]
    for name, array in run(model, x=x).items():
        np.testing.assert_array_equal(array, before[name] * target.reshape(1, 2, 1, 1))
