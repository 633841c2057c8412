"""A net whose tensors reach a little below zero, and what its grids are with and without shifts."""

import numpy as np
import onnx
import onnx_ir as ir

from passes import QuantizeActivations, QuantizeWeights, ShiftNegativeCorrection
from passes.analysis.quantization_points import quantization_points
from passes.arithmetic import Grid, exponent_of
from passes.graph import with_outputs
from tests.passes.helpers import build_model, run_model

NET = """(float[1,3,17,17] x) => (float[1,5] y, float[1,4,18,18] up, float[1,4,9,9] side) {
    a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w0, b0)
    a_s = Sigmoid(a)
    a_silu = Mul(a, a_s)
    b = Conv<pads=[1,0,2,1]>(a_silu, w1, b1)
    b_leaky = LeakyRelu<alpha=0.1>(b)
    c = Conv<pads=[2,2,2,2], dilations=[2,2], group=4>(a_silu, w2)
    c_gate = HardSigmoid(c)
    c_swish = Mul(c, c_gate)
    d = Conv<pads=[1,1,1,1], group=2>(a_silu, w3, b3)
    side = LeakyRelu<alpha=0.1>(d)
    pooled = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(a_silu)
    e = Conv<pads=[1,1,1,1]>(pooled, w4, b4)
    e_leaky = LeakyRelu<alpha=0.1>(e)
    both = Concat<axis=1>(pooled, b_leaky)
    f = Conv<pads=[1,1,1,1]>(both, w5, b5)
    f_leaky = LeakyRelu<alpha=0.1>(f)
    sum = Add(f_leaky, e_leaky)
    product = Mul(sum, c_swish)
    g = Conv(product, w6, b6)
    g_leaky = LeakyRelu<alpha=0.1>(g)
    wide = Resize<mode="nearest", coordinate_transformation_mode="asymmetric",
                  nearest_mode="floor">(g_leaky, , sizes)
    h = Conv<pads=[1,1,1,1]>(wide, w7, b7)
    up = Add(h, h)
    t = ConvTranspose<strides=[2,2]>(g_leaky, wt, bt)
    t_leaky = LeakyRelu<alpha=0.1>(t)
    mean = GlobalAveragePool(t_leaky)
    flat = Flatten(mean)
    k = Gemm<transB=1>(flat, w8, b8)
    k_leaky = LeakyRelu<alpha=0.1>(k)
    y = Gemm(k_leaky, w9)
}"""
"""Readers of every kind: padded (asymmetric, dilated), grouped, depthwise, strided and 1×1 layers,
operators that select values, and some that can do nothing but subtract."""

SHIFTED = ("_silu", "_leaky", "_swish", "pooled", "wide", "side")


def float_net(rng):
    """The float net."""

    def normal(*shape):
        return rng.normal(0, 1.7 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    return build_model(
        NET,
        w0=normal(4, 3, 3, 3),
        b0=normal(4),
        w1=normal(4, 4, 4, 2),
        b1=normal(4),
        w2=normal(4, 1, 3, 3),
        w3=normal(4, 2, 3, 3),
        b3=normal(4),
        w4=normal(4, 4, 3, 3),
        b4=normal(4),
        w5=normal(4, 8, 3, 3),
        b5=normal(4),
        w6=normal(4, 4, 1, 1),
        b6=normal(4),
        sizes=np.array([1, 1, 2, 2], np.float32),
        w7=normal(4, 4, 3, 3),
        b7=normal(4),
        wt=normal(4, 4, 2, 2),
        bt=normal(4),
        w8=normal(6, 4),
        b8=normal(6),
        w9=normal(6, 5),
    )


def picture(rng):
    """Pixels of either sign."""
    return rng.normal(0, 2, (1, 3, 17, 17)).astype(np.float32)


def quantized_net(rng, bits=8, act_bits=8, *, multiple=2, weights=True):
    """Return the canonical quantized net.

    What has little below zero is shifted by a multiple of that many steps, or on a signed grid
    where that is 0.
    """
    model = float_net(rng)
    points = quantization_points(model.graph)
    leaders = [point.names[0] for point in points]
    values = run_model(with_outputs(model, [n for n in leaders if n != "x"]), x=picture(rng))
    values["x"] = picture(rng)
    grids = {}
    for point in points:
        leader = point.names[0]
        low, high = float(values[leader].min()), float(np.abs(values[leader]).max())
        width = 8 if point.first_last else act_bits
        grid = Grid(int(exponent_of(high)), width, not point.nonnegative)
        if multiple and any(end in leader for end in SHIFTED):
            grid = Grid(grid.exponent, width, signed=False)
            shift = multiple * int(np.ceil(-low / grid.scale / multiple))
            grid = Grid(grid.exponent, width, signed=False, shift=shift)
        grids |= dict.fromkeys(point.names, grid)
    QuantizeActivations(grids)(model)
    if weights:
        QuantizeWeights(bits)(model)
    return model


def corrected_of(model):
    """Return the corrected copy of a model that has something to correct, checked."""
    corrected = model.clone()
    assert ShiftNegativeCorrection()(corrected).modified
    onnx.checker.check_model(ir.to_proto(corrected), full_check=True)
    assert not any(points(corrected))
    return corrected


def without_rounding(model):
    """Return the model with every QuantizeLinear → DequantizeLinear taken out."""
    model = model.clone()
    for node in list(model.graph):
        source = node.inputs[0].producer() if node.op_type == "DequantizeLinear" else None
        if source is not None and source.op_type == "QuantizeLinear":
            node.op_type = "Identity"
            node.resize_inputs(1)
            node.replace_input_with(0, source.inputs[0])
    return model


def points(model):
    """Zero points of everything unsigned."""
    nodes = [n for n in model.graph if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    zeros = [n.inputs[2] for n in nodes if len(n.inputs) > 2]
    return [int(z.const_value.numpy()) for z in zeros if z.dtype.name.startswith("UINT")]
