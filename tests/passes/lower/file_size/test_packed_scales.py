"""Scales of channels in a byte each."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import PackedScales
from passes.lower.file_size.packed_scales import OPERATOR_BYTES
from tests.passes.helpers import build_model, operator_types, run_model
from zqc.model_io import model_file
from zqc.runtime import session


def layers(rng, *exponents, count=3, channels=40):
    """Return quantized layers in a row, whose scales are powers of two with such exponents."""
    lines, arrays = [], {"z": np.uint8(128), "s": np.float32(0.25)}
    for i in range(count):
        arrays[f"w{i}"] = rng.integers(-99, 99, (channels, channels, 1, 1)).astype(np.int8)
        arrays[f"s{i}"] = np.exp2(rng.choice(exponents, channels)).astype(np.float32)
        lines.append(
            f"q{i} = QuantizeLinear(c{i}, s, z) d{i} = DequantizeLinear(q{i}, s, z)"
            f" f{i} = DequantizeLinear<axis=0>(w{i}, s{i}) c{i + 1} = Conv(d{i}, f{i})"
        )
    return build_model(
        f"(float[1,{channels},4,4] c0) => (float[n,c,h,w] y) {{ {' '.join(lines)} "
        f"q = QuantizeLinear(c{count}, s, z) y = DequantizeLinear(q, s, z) }}",
        **arrays,
    )


@pytest.mark.exact_kernels
def test_every_value_stays(rng):
    """The scales come out of the table as they went in: the same bits, folded or not."""
    model = layers(rng, -12, -11, -9, -8, channels=80)
    x = rng.normal(0, 4, (1, 80, 4, 4)).astype(np.float32)
    expected = run_model(model, c0=x)["y"]
    before = len(model_file.serialize(model, metadata={}))
    assert PackedScales()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    saved = before - len(model_file.serialize(model, metadata={}))
    assert 3 * 3 * 80 - 2 * OPERATOR_BYTES < saved < 3 * 3 * 80
    np.testing.assert_array_equal(run_model(model, c0=x)["y"], expected)
    np.testing.assert_array_equal(session.load(model, threads=1)({"c0": x})["y"], expected)
    kinds = operator_types(session.executed_graph(model))
    assert kinds.count("QLinearConv") == 3
    assert not {"Gather", "Split", "Cast"} & set(kinds)


def test_a_shared_list_stays_shared(rng):
    """Two readers of one list read one output of the Split."""
    model = layers(rng, -12, -11, channels=80)
    first, second = (n for n in list(model.graph) if n.name in ("make_f0", "make_f1"))
    second.replace_input_with(1, first.inputs[1])
    assert PackedScales()(model).modified
    assert first.inputs[1] is second.inputs[1]
    split = next(node for node in model.graph if node.op_type == "Split")
    assert len(split.outputs) == 2


@pytest.mark.parametrize(
    "declined",
    [
        {"count": 1, "channels": 80},
        {"count": 4, "channels": 100, "exponents": np.linspace(-12, -8, 4000)},
    ],
)
def test_it_declines(rng, declined):
    """Few scales, and scales of very many values, stay as they are."""
    exponents = declined.pop("exponents", (-9, -8))
    model = layers(rng, *exponents, **declined)
    assert not PackedScales()(model).modified
