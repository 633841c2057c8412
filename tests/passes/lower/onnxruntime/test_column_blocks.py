"""Layers of few channels on blocks of columns."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import ColumnBlocks
from tests.passes.helpers import build_model, operator_types, run_model
from zqc.runtime import session


def layer(
    rng,
    *,
    channels=3,
    filters=8,
    size="8,16",
    kernel=(3, 3),
    kind=np.int8,
    attributes="",
    extra="",
    outputs="",
):
    """Return a quantized Conv between two pairs, of weights with a scale per channel."""
    comma = ", " if attributes else ""
    limit = 8 if kind != np.int8 else 128
    weight = rng.integers(-limit, limit, (filters, channels, *kernel)).astype(kind)
    steps = np.exp2(-rng.integers(5, 9, filters)).astype(np.float32)
    return build_model(
        f"""(float[N,{channels},{size}] x) => (float[n,{filters},h,w] y{outputs}) {{
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            wf = DequantizeLinear<axis=0>(w, ws)
            bf = DequantizeLinear<axis=0>(b, bs)
            c = Conv<kernel_shape=[{kernel[0]},{kernel[1]}]{comma}{attributes}>(d, wf, bf)
            p = QuantizeLinear(c, s2, z2)
            y = DequantizeLinear(p, s2, z2)
            {extra}
        }}""",
        s=2.0**-7,
        z=np.uint8(128),
        w=weight,
        ws=steps,
        b=rng.integers(-900, 900, filters).astype(np.int32),
        bs=steps * np.float32(2**-7),
        s2=2.0**-4,
        z2=np.uint8(100),
    )


@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        ((3, 3), "pads=[1,1,1,1]"),
        ((3, 3), "pads=[1,1,1,1], strides=[2,2]"),
        ((3, 3), "pads=[0,0,1,1], strides=[2,2]"),
        ((3, 3), "pads=[2,2,0,0], strides=[1,2], dilations=[2,1]"),
        ((5, 5), "pads=[2,2,2,2]"),
        ((6, 6), "pads=[2,2,2,2], strides=[2,2]"),
        ((7, 7), "pads=[3,3,3,3], strides=[2,2]"),
        ((4, 4), "strides=[4,4]"),
        ((1, 9), "pads=[0,4,0,4]"),
        ((2, 5), "pads=[0,2,0,2]"),
        ((1, 1), ""),
    ],
)
@pytest.mark.parametrize("optimize", [False, pytest.param(True, marks=pytest.mark.exact_kernels)])
def test_the_same_integers(rng, kernel, attributes, optimize):
    """Kernels, strides and paddings of all kinds give the same bits, fused or not."""
    seed = rng.bit_generator.state
    before = layer(rng, kernel=kernel, attributes=attributes)
    rng.bit_generator.state = seed
    after = layer(rng, kernel=kernel, attributes=attributes)
    assert ColumnBlocks()(after).modified
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    runners = [session.load(model, threads=1, optimize=optimize) for model in (before, after)]
    for count in (1, 3):
        x = rng.uniform(-1, 1, (count, 3, 8, 16)).astype(np.float32)
        expected, found = (runner({"x": x})["y"] for runner in runners)
        np.testing.assert_array_equal(found, expected)


def test_it_stays_an_integer_layer(rng):
    """ONNX Runtime fuses the layer on blocks of four columns."""
    model = layer(rng, attributes="pads=[1,1,1,1], strides=[2,2]")
    ColumnBlocks()(model)
    kinds = operator_types(session.executed_graph(model))
    assert kinds.count("QLinearConv") == 1
    convs = [node for node in model.graph if node.op_type == "Conv"]
    weight = convs[0].inputs[1].producer().inputs[0]
    assert weight.shape == (16, 12, 3, 2)  # two columns of eight channels, from four of three


def test_four_bit_weights(rng):
    """INT4 weights stay INT4."""
    kind = ir.DataType.INT4.numpy()
    model = layer(rng, kind=kind, attributes="pads=[1,1,1,1]")
    x = rng.uniform(-1, 1, (1, 3, 8, 16)).astype(np.float32)
    expected = run_model(model, x=x)["y"]
    assert ColumnBlocks()(model).modified
    conv = next(node for node in model.graph if node.op_type == "Conv")
    assert conv.inputs[1].producer().inputs[0].dtype == ir.DataType.INT4
    np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)


@pytest.mark.parametrize(
    "declined",
    [
        {"channels": 4, "filters": 16},
        {"channels": 72},
        {"size": "8,10"},
        {"size": "h,w"},
        {"attributes": "dilations=[1,2], pads=[2,2,2,2]"},
        {"attributes": "strides=[3,3], pads=[1,1,1,1]"},
        {"attributes": "strides=[1,4]", "kernel": (3, 2), "size": "8,15"},
        {"extra": "seen = Relu(c)", "outputs": ", float[n,8,h,w] seen"},
    ],
)
def test_it_declines(rng, declined):
    """What the docstring says is left alone is left alone."""
    model = layer(rng, **declined)
    assert not ColumnBlocks()(model).modified


def test_a_shared_weight_is_written_once(rng):
    """Two levels of other sizes, but with the same blocks, read one new weight."""
    weight = rng.integers(-128, 128, (8, 3, 3, 3)).astype(np.int8)
    branch = """q{i} = QuantizeLinear(x{i}, s, z) d{i} = DequantizeLinear(q{i}, s, z)
        wf{i} = DequantizeLinear<axis=0>(w, ws) c{i} = Conv<pads=[1,1,1,1]>(d{i}, wf{i})
        p{i} = QuantizeLinear(c{i}, s2, z) y{i} = DequantizeLinear(p{i}, s2, z)"""
    model = build_model(
        "(float[N,3,8,16] x0, float[N,3,4,8] x1) => (float[n,c,h,w] y0, float[n,c,h2,w2] y1) {"
        + branch.format(i=0)
        + branch.format(i=1)
        + "}",
        s=2.0**-7,
        s2=2.0**-3,
        z=np.uint8(128),
        w=weight,
        ws=np.full(8, 2.0**-7, np.float32),
    )
    feeds = {
        f"x{i}": rng.uniform(-1, 1, (1, 3, *size)).astype(np.float32)
        for i, size in enumerate([(8, 16), (4, 8)])
    }
    before = run_model(model, **feeds)
    assert ColumnBlocks()(model).modified
    convs = [node for node in model.graph if node.op_type == "Conv"]
    first, second = (node.inputs[1].producer().inputs[0] for node in convs)
    assert first is second
    assert first.shape[2:] != [3, 3]
    for name, array in run_model(model, **feeds).items():
        np.testing.assert_array_equal(array, before[name])
