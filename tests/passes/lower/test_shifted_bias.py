"""The bias of a layer takes out what a shift of its input adds, on integers."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passes import QuantizeActivations, QuantizeWeights
from passes.arithmetic import Grid
from tests.passes.helpers import build_model, run_model
from tests.passes.shifted import corrected_of

SHIFTED = Grid(2, 8, signed=False, shift=40)


def layer_of(model):
    """The one layer."""
    kinds = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    (node,) = (n for n in model.graph if n.op_type in kinds)
    return node


LAYERS = {
    "Conv": ("Conv<pads=[1,1,1,1]>", (6, 4, 3, 3)),
    "strided": ("Conv<strides=[2,3], pads=[0,1,2,0]>", (6, 4, 3, 3)),
    "dilated": ("Conv<dilations=[2,1], pads=[2,1,2,1]>", (6, 4, 3, 3)),
    "grouped": ("Conv<group=2, pads=[1,1,1,1]>", (6, 2, 3, 3)),
    "depthwise": ("Conv<group=4, pads=[1,1,1,1]>", (8, 1, 3, 3)),
    "unpadded": ('Conv<auto_pad="VALID">', (6, 4, 3, 3)),
    "one-dimensional": ("Conv<pads=[2,1]>", (6, 4, 3)),
    "Gemm": ("Gemm", (4, 6)),
    "Gemm, transposed": ("Gemm<transB=1>", (6, 4)),
    "MatMul": ("MatMul", (4, 6)),
}


def one_layer(rng, call, shape, *, bias, grid=SHIFTED):
    """A layer whose input is shifted, its weights quantized."""
    size = "2,4" + ",7" * (len(shape) - 2)
    rank = ",".join("ncdhw"[: len(shape)])
    arrays = {"w": rng.normal(size=shape).astype(np.float32)}
    if bias:
        axis = 0 if call.startswith(("Conv<", "Gemm<transB")) else 1
        outputs = shape[axis]
        arrays["b"] = rng.normal(size=outputs).astype(np.float32)
    names = ", ".join(["x", *arrays])
    model = build_model(
        f"(float[{size}] x) => (float[{rank}] y) {{ y = {call}({names}) }}", **arrays
    )
    QuantizeActivations({"x": grid})(model)
    QuantizeWeights()(model)
    return model, rng.normal(1, 1, [int(n) for n in size.split(",")]).astype(np.float32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_corrects_its_bias(rng, layer, bias):
    """Integers of the bias: b − z·Σq, on the same scale; the output keeps its bits."""
    call, shape = LAYERS[layer]
    model, x = one_layer(rng, call, shape, bias=bias and layer != "MatMul")
    corrected = corrected_of(model)
    node = layer_of(corrected)
    assert not any(node.attributes["pads"].as_ints() if "pads" in node.attributes else ())
    assert node.inputs[0].producer().op_type == "DequantizeLinear"
    np.testing.assert_array_equal(run_model(corrected, x=x)["y"], run_model(model, x=x)["y"])
    if layer == "MatMul":
        assert node.outputs[0].uses()[0].node.op_type == "Sub"
        return
    integers, scale = (v.const_value.numpy() for v in node.inputs[2].producer().inputs)
    weights, weight_scale = (v.const_value.numpy() for v in node.inputs[1].producer().inputs)
    axis = 1 if layer == "Gemm" else 0
    sums = np.moveaxis(weights, axis, 0).reshape(len(integers), -1).sum(axis=1, dtype=np.int64)
    old = layer_of(model).inputs[2].producer().inputs[0].const_value.numpy() if bias else 0
    np.testing.assert_array_equal(integers, old - SHIFTED.shift * sums)
    np.testing.assert_array_equal(scale, weight_scale * np.float32(SHIFTED.scale))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    group=st.sampled_from([1, 2, 4]),
    bits=st.sampled_from([4, 8]),
    shift=st.integers(1, 15),
    bias=st.booleans(),
)
def test_any_convolution(kernel, strides, dilations, pads, group, bits, shift, bias):
    """Any window, padding and grouping computes what it did, for values that are on the grid."""
    rng = np.random.default_rng(shift)
    attributes = f"strides={list(strides)}, dilations={list(dilations)}, pads={list(pads)}"
    grid = Grid(1, bits, signed=False, shift=shift)
    call, shape = f"Conv<{attributes}, group={group}>", (4, 4 // group, *kernel)
    model, x = one_layer(rng, call, shape, bias=bias, grid=grid)
    x = grid.nearest(x)
    np.testing.assert_array_equal(
        run_model(corrected_of(model), x=x)["y"], run_model(model, x=x)["y"]
    )


@pytest.mark.parametrize(
    ("call", "shape", "op_type"),
    [
        ("ConvTranspose<strides=[2,2]>", (4, 3, 3, 3), "ConvTranspose"),
        ('Conv<auto_pad="SAME_UPPER">', (3, 4, 3, 3), "Conv"),
        ("Gemm<alpha=2.0>", (4, 3), "Gemm"),
    ],
)
def test_layers_that_cannot_read_the_difference(rng, call, shape, op_type):
    """Where no bias can take the shift, it is subtracted before the layer."""
    model, x = one_layer(rng, call, shape, bias=True)
    corrected = corrected_of(model)
    node = layer_of(corrected)
    assert node.op_type == op_type
    assert node.inputs[0].producer().op_type == "Sub"
    np.testing.assert_array_equal(run_model(corrected, x=x)["y"], run_model(model, x=x)["y"])


def test_a_bias_that_would_overflow_stays(rng):
    """A corrected bias beyond INT32 is not written."""
    model, x = one_layer(rng, "Gemm", (4, 3), bias=True)
    dequantizer = layer_of(model).inputs[2].producer()
    dequantizer.inputs[0].const_value = ir.tensor(np.full(3, -(2**31), np.int32))
    weights = layer_of(model).inputs[1].producer().inputs[0]
    weights.const_value = ir.tensor(np.abs(weights.const_value.numpy()))
    corrected = corrected_of(model)
    assert layer_of(corrected).inputs[0].producer().op_type == "Sub"
    np.testing.assert_array_equal(run_model(corrected, x=x)["y"], run_model(model, x=x)["y"])
