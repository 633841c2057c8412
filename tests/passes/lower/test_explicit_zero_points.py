"""Zero points of 0 that are written out."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import ExplicitZeroPoints
from tests.passes.helpers import build_model, operator_types, run_model
from zqc.model_io import model_file
from zqc.runtime import session


def gemm(*, zero="", axis="axis=0", scales=5):
    """Return a Gemm between pairs, its weight with a scale per row."""
    step = np.full(scales, 2**-6, np.float32) if axis else np.float32(2**-6)
    return build_model(
        f"""(float[N,4] x) => (float[N,5] y) {{
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            w_d = DequantizeLinear<{axis or "axis=1"}>(w, step{zero})
            b_d = DequantizeLinear<axis=0>(b, steps)
            g = Gemm<transB=1>(d, w_d, b_d)
            p = QuantizeLinear(g, s, z)
            y = DequantizeLinear(p, s, z)
        }}""",
        s=0.25,
        z=np.uint8(128),
        step=step,
        steps=np.full(5, 2**-8, np.float32),
        w=np.arange(20, dtype=np.int8).reshape(5, 4),
        b=np.arange(5, dtype=np.int32),
        **({"zeros": np.zeros_like(step, np.int8)} if zero else {}),
    )


def convolutions(rng, *channels):
    """Return quantized layers in a row, whose pairs and weights have no zero points."""
    lines, arrays, before = [], {"s": np.float32(0.25)}, 3
    for i, after in enumerate(channels):
        arrays[f"w{i}"] = rng.integers(-99, 99, (after, before, 1, 1)).astype(np.int8)
        arrays[f"b{i}"] = rng.integers(-99, 99, after).astype(np.int32)
        arrays[f"s{i}"] = np.exp2(rng.integers(-9, -6, after)).astype(np.float32)
        arrays[f"t{i}"] = arrays[f"s{i}"] / 4
        lines.append(
            f"q{i} = QuantizeLinear(c{i}, s) d{i} = DequantizeLinear(q{i}, s)"
            f" f{i} = DequantizeLinear<axis=0>(w{i}, s{i})"
            f" g{i} = DequantizeLinear<axis=0>(b{i}, t{i}) c{i + 1} = Conv(d{i}, f{i}, g{i})"
        )
        before = after
    return build_model(
        f"(float[1,3,4,4] c0) => (float[n,c,h,w] y) {{ {' '.join(lines)} "
        f"q = QuantizeLinear(c{len(channels)}, s) y = DequantizeLinear(q, s) }}",
        **arrays,
    )


def zeros(model):
    """The zero point of every QuantizeLinear and DequantizeLinear."""
    nodes = [n for n in model.graph if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert all(len(node.inputs) == 3 for node in nodes)
    return [node.inputs[2] for node in nodes]


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("axis", ["axis=0", ""])
def test_gemm_fuses(axis, folded, rng):
    """ONNX Runtime makes a QGemm of it, which 1.28 and later need zero points for; same values."""
    model = gemm(axis=axis)
    x = rng.normal(0, 4, (3, 4)).astype(np.float32)
    before = run_model(model, x=x)["y"]
    assert ExplicitZeroPoints(folded)(model).modified
    assert "QGemm" in [node.op_type for node in session.executed_graph(model).graph]
    np.testing.assert_array_equal(run_model(model, x=x)["y"], before)
    np.testing.assert_array_equal(session.load(model, threads=1)({"x": x})["y"], before)


@pytest.mark.parametrize("folded", [False, True])
def test_every_value_stays(folded, rng):
    """Each node has zeros of its type in the shape of its scale; those alike are one tensor."""
    model = convolutions(rng, 40, 200, 40, 64)
    x = rng.normal(0, 4, (1, 3, 4, 4)).astype(np.float32)
    expected = run_model(model, c0=x)["y"]
    assert ExplicitZeroPoints(folded)(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    found = zeros(model)
    wanted = [(ir.DataType.UINT8, ())] + [
        (kind, (length,))
        for kind in (ir.DataType.INT8, ir.DataType.INT32)
        for length in (40, 64, 200)
    ]
    assert {(zero.dtype, tuple(zero.shape)) for zero in found} == set(wanted)
    assert len(set(found)) == len(wanted)
    assert operator_types(model).count("Split") == 2 * folded
    np.testing.assert_array_equal(run_model(model, c0=x)["y"], expected)
    np.testing.assert_array_equal(session.load(model, threads=1)({"c0": x})["y"], expected)
    executed = [node.op_type for node in session.executed_graph(model).graph]
    assert executed.count("QLinearConv") == 4
    assert "Expand" not in executed
    assert not ExplicitZeroPoints(folded)(model).modified


def test_folded_vectors_take_less_room(rng):
    """What is made at load is hardly larger for wide layers than for narrow ones."""

    def more(*channels, folded):
        model = convolutions(rng, *channels)
        before = len(model_file.serialize(model, metadata={}))
        ExplicitZeroPoints(folded)(model)
        return len(model_file.serialize(model, metadata={})) - before

    assert more(40, 200, 64, folded=False) > 5 * (40 + 200 + 64)
    assert more(40, 200, 64, folded=True) < 1000
    assert more(400, 800, 640, folded=True) - more(40, 80, 64, folded=True) < 100
    assert more(8, folded=True) == more(8, folded=False)


def test_int4_weights_have_zeros_of_their_type(rng):
    """The zero point of INT4 is INT4, as the standard asks for."""
    model = convolutions(rng, 40)
    weight = model.graph.initializers["w0"]
    weight.const_value = ir.tensor(
        rng.integers(-8, 8, (40, 3, 1, 1)).astype(np.int8), dtype=ir.DataType.INT4, name="w0"
    )
    weight.type = ir.TensorType(ir.DataType.INT4)
    model.opset_imports[""] = 21
    ExplicitZeroPoints()(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert {zero.dtype for zero in zeros(model)} == {
        ir.DataType.UINT8,
        ir.DataType.INT4,
        ir.DataType.INT32,
    }


def test_what_is_left_alone():
    """Zero points that are there stay; what has a computed scale, of unknown length, gets none."""
    model = gemm(zero=", zeros")
    (weight,) = (node for node in model.graph if node.inputs[0].name == "w")
    zero = weight.inputs[2]
    ExplicitZeroPoints()(model)
    assert weight.inputs[2] is zero
    computed = build_model(
        "(float[2] s) => (float[2,2] y) { y = DequantizeLinear<axis=0>(w, s) }",
        w=np.ones((2, 2), np.int8),
    )
    assert not ExplicitZeroPoints()(computed).modified
