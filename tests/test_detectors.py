"""Detectors of other kinds than the example, from the float file to integer kernels."""

from collections import Counter

import numpy as np
import onnx
import pytest

from tests import detectors
from zqc.commands import compile as compiler
from zqc.commands.compile import compile_model
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe
from zqc.runtime import session

NETWORKS = {"residual": detectors.RESIDUAL, "attention": detectors.ATTENTION}
LAYERS = {
    "residual": {"QLinearConv": 17, "QGemm": 2},
    "attention": {"QLinearConv": 3, "QGemm": 6, "QLinearMatMul": 1, "MatMulIntegerToFloat": 1},
}
FLOAT = {"residual": {"PRelu"}, "attention": {"Gelu", "LayerNormalization"}}
"""What has no integer kernel, and stands between two integer layers."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Compile a network once for the tests that look at the result."""
    folder, known = tmp_path_factory.mktemp("detectors"), {}
    pictures = folder / "pictures.npz"
    size = detectors.SIZE
    images = np.random.default_rng(1).uniform(0, 1, (4, 3, size, size)).astype(np.float32)
    np.savez(pictures, images=images)
    for name, text in NETWORKS.items():
        onnx.save(detectors.detector(text), folder / f"{name}.onnx")

    def result(name, bits, act_bits):
        key = name, bits, act_bits
        if key not in known:
            recipe = Recipe(
                bits=bits,
                act_bits=act_bits,
                rounding="nearest",
                samples=4,
                input_format=InputFormat(),
            )
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(compiler, "median_latencies", lambda runners, feeds: [2.0, 1.0])
                known[key] = compile_model(
                    folder / f"{name}.onnx",
                    folder / f"{name}_{bits}_{act_bits}.onnx",
                    recipe=recipe,
                    images=pictures,
                    threads=1,
                )
        return known[key]

    return result


BITS = pytest.mark.parametrize(("bits", "act_bits"), [(8, 8), (4, 8), (4, 4)])
EVERY_NETWORK = pytest.mark.parametrize("name", list(NETWORKS))


@BITS
@EVERY_NETWORK
def test_every_layer_is_an_integer_one(compiled, name, bits, act_bits):
    """Conv, ConvTranspose, Gemm and MatMul, those of two activations included, are fused."""
    result = compiled(name, bits, act_bits)
    kinds = Counter(node.op_type for node in session.executed_graph(result.output).graph)
    assert {kind: kinds[kind] for kind in LAYERS[name]} == LAYERS[name]
    assert not {"Conv", "ConvTranspose", "FusedConv", "Gemm", "MatMul"} & set(kinds)
    assert result.integer_layers == len(result.layers) == sum(LAYERS[name].values())


@BITS
@EVERY_NETWORK
def test_no_needless_float_operator(compiled, name, bits, act_bits):
    """Only operators without an integer kernel run in float, each behind one pair."""
    result = compiled(name, bits, act_bits)
    assert {found.op_type for found in result.float_operators} == FLOAT[name]
    graph = session.executed_graph(result.output).graph
    for node in graph:
        if node.op_type == "DequantizeLinear":
            readers = {use.node.op_type for use in node.outputs[0].uses()}
            assert "QuantizeLinear" not in readers, f"{node.name} is quantized again"


@EVERY_NETWORK
def test_outputs_are_near_the_float_ones(compiled, name):
    """Boxes and scores go with those of the float model, with 8 bits closely."""
    assert all(part.correlation > 0.99 for part in compiled(name, 8, 8).agreement)
    assert all(part.correlation > 0.9 for part in compiled(name, 4, 8).agreement)
