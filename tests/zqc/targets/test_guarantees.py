"""What each target says of its files holds."""

from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnxruntime.tools.convert_onnx_models_to_ort import (
    OptimizationStyle,
    convert_onnx_models_to_ort,
)

from passes.analysis.topology import post_processing, weighted_layers
from tests import nets
from tests.calibration import GivenBatches, plan_of
from tests.passes.random_networks import network
from zqc import targets
from zqc.calibration.calibrate import calibrate
from zqc.model_io import model_file
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.quantization.prepare import points_of, prepare
from zqc.quantization.quantize import quantize
from zqc.recipe.recipe import Recipe
from zqc.runtime import session

PLAN = (
    5,
    [("residual", "relu"), ("concat", "silu"), ("squeeze and excite", "relu6"), ("pool", "leaky")],
    ("classes", "hardswish"),
)
PAIR = {"QuantizeLinear", "DequantizeLinear"}
BITS = [(8, 8), (4, 8), (4, 4)]


class Plan:
    """A network with residuals, Concat, squeeze-and-excite, pooling, Gemm, and five functions."""

    seed, blocks, head = PLAN


@cache
def written(target, bits=8, act_bits=8):
    """The canonical and the lowered graph, and a picture."""
    model, pictures = network(Plan)
    recipe = Recipe(
        bits=bits, act_bits=act_bits, first_last_bits=act_bits, target=target,
        input_format=InputFormat(), rounding="nearest",
    )  # fmt: skip
    plan = plan_of(recipe)
    prepared = prepare(model, plan)
    with Silent().task("", 0) as task:
        points = points_of(prepared, plan)
        ranges = calibrate(prepared, points, GivenBatches(pictures[0]), plan, task=task)
    canonical = quantize(prepared, ranges, plan, means={})
    return canonical, plan.target.lower(canonical), pictures[1]


def grids(model):
    """Type, zero point and scale of every QuantizeLinear, and of every constant behind a pair."""
    found = []
    for node in model.graph:
        if node.op_type in PAIR:
            scale = node.inputs[1].const_value
            zero = node.inputs[2] if len(node.inputs) > 2 else None
            kind = node.outputs[0].dtype if node.op_type == "QuantizeLinear" else None
            kind = kind or node.inputs[0].dtype
            # What is no constant is made at load: the zeros of biases and weights.
            known = zero is not None and zero.const_value is not None
            point = int(zero.const_value.numpy().reshape(-1)[0]) if known else 0
            found.append((node, kind, point, None if scale is None else scale.numpy()))
    return found


def activations(model):
    """Type and zero point of every quantized tensor."""
    return {(kind, point) for node, kind, point, _ in grids(model) if is_quantizer(node)}


def is_quantizer(node):
    """Whether the node is QuantizeLinear."""
    return node.op_type == "QuantizeLinear"


def weights(model):
    """What each layer's constant weight is stored in."""
    nodes = [n.inputs[1].producer() for n in weighted_layers(model.graph)]
    sources = [n.inputs[0] for n in nodes if n is not None]
    return {s.producer().inputs[0].dtype if s.producer() else s.dtype for s in sources}


@pytest.mark.parametrize("target", targets.BUILT_IN)
@pytest.mark.parametrize(("bits", "act_bits"), BITS)
def test_every_target_is_exact_and_valid(target, bits, act_bits):
    """The lowered graph is valid ONNX and has the bits of the canonical one, fused or not."""
    if act_bits not in targets.find(target).act_bits:
        pytest.skip("the target has no such activations")
    canonical, lowered, x = written(target, bits, act_bits)
    onnx.checker.check_model(ir.to_proto(lowered), full_check=True)
    expected, actual = (session.load(m, threads=1, optimize=False) for m in (canonical, lowered))
    values = expected({"x": x})["y"]
    assert len(np.unique(values)) > 1
    np.testing.assert_array_equal(actual({"x": x})["y"], values)
    session.load(lowered, threads=1)({"x": x})  # ONNX Runtime's optimizer can load it, too


@pytest.mark.parametrize(("bits", "act_bits"), BITS)
@pytest.mark.parametrize(
    ("target", "kind", "arm"),
    [("ort-x86", ir.DataType.UINT8, False), ("ort-arm", ir.DataType.INT8, True)],
)
def test_onnx_runtime(target, kind, arm, bits, act_bits):
    """One 8-bit type for all tensors, and no convolution in float."""
    _, lowered, _ = written(target, bits, act_bits)
    assert {k for k, _ in activations(lowered)} == {kind}
    executed = [n.op_type for n in session.executed_graph(lowered, arm=arm).graph]
    assert executed.count("QLinearConv") > 8
    assert not {"Conv", "FusedConv"} & set(executed)


@pytest.mark.parametrize("target", targets.BUILT_IN)
def test_every_zero_point_is_written(target):
    """QuantizeLinear and DequantizeLinear have three inputs, whatever the target."""
    for bits in (8, 4):
        _, lowered, _ = written(target, bits)
        assert {len(node.inputs) for node in lowered.graph if node.op_type in PAIR} == {3}


@pytest.mark.parametrize("style", list(OptimizationStyle), ids=lambda style: style.name)
@pytest.mark.parametrize("min_runtime", [None, "1.16"])
@pytest.mark.parametrize(("bits", "act_bits"), BITS)
@pytest.mark.parametrize(("target", "platform"), [("ort-x86", None), ("ort-arm", "arm")])
def test_ort_format(target, platform, bits, act_bits, min_runtime, style, tmp_path):
    """The file converts to ORT format, which computes the same, with saved optimizations or not."""
    canonical, _, x = written(target, bits, act_bits)
    lowered = targets.find(target).lower(canonical, min_runtime)
    (tmp_path / "model.onnx").write_bytes(model_file.serialize(lowered, metadata={}))
    convert_onnx_models_to_ort(
        tmp_path / "model.onnx", optimization_styles=[style], target_platform=platform
    )
    (converted,) = tmp_path.glob("*.ort")
    expected = session.load(lowered, threads=1)({"x": x})["y"]
    for replayed in "01":
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.enable_saved_runtime_optimizations", replayed)
        loaded = onnxruntime.InferenceSession(converted, options)
        np.testing.assert_array_equal(loaded.run(["y"], {"x": x})[0], expected)


def test_tensorrt():
    """INT8 with zero point 0 everywhere, at inputs of layers and shortcuts; float biases."""
    _, lowered, _ = written("tensorrt", bits=4)
    assert {(kind, point) for _, kind, point, _ in grids(lowered)} == {(ir.DataType.INT8, 0)}
    for layer in weighted_layers(lowered.graph):
        assert all(v.producer().op_type == "DequantizeLinear" for v in layer.inputs[:2])
        assert len(layer.inputs) < 3 or layer.inputs[2].is_initializer()
    for node, *_ in grids(lowered):
        if node.op_type == "DequantizeLinear" and node.inputs[0].producer() is not None:
            readers = {use.node.op_type for use in node.outputs[0].uses()}
            assert readers & {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add"}


@pytest.mark.parametrize(("bits", "act_bits"), BITS)
def test_openvino(bits, act_bits):
    """8-bit tensors; INT4 weights are behind a Cast."""
    _, lowered, _ = written("openvino", bits, act_bits)
    assert {kind for kind, _ in activations(lowered)} == {ir.DataType.INT8, ir.DataType.UINT8}
    assert (ir.DataType.INT4 in weights(lowered)) is (bits == 4)
    for node, *_ in grids(lowered):
        assert node.inputs[0].dtype != ir.DataType.INT4


@pytest.mark.parametrize("bits", [8, 4])
def test_qnn(bits):
    """uint8, pairs on all sides of every operator, one scale for matrices, a batch of 1."""
    canonical, lowered, _ = written("qnn", bits)
    assert {kind for kind, _ in activations(lowered)} == {ir.DataType.UINT8}
    tail = {node.name for node in post_processing(canonical.graph)}
    for node in lowered.graph:
        if node.op_type in PAIR or node.name in tail:
            continue
        for value in node.inputs:
            source = value.producer() if value is not None else None
            assert source is None or source.op_type == "DequantizeLinear"
        for value in node.outputs:
            assert {use.node.op_type for use in value.uses()} == {"QuantizeLinear"}
    for layer in weighted_layers(lowered.graph):
        scale = layer.inputs[1].producer().inputs[1].const_value.numpy()
        assert (scale.ndim == 0) is (layer.op_type == "Gemm")
    assert lowered.graph.inputs[0].shape[0] == 1


def test_vitisai():
    """INT8 with zero point 0 and one power-of-two scale each, and nothing left to defaults."""
    _, lowered, _ = written("vitisai", bits=4)
    for node, kind, point, scale in grids(lowered):
        bias = node.inputs[0].dtype == ir.DataType.INT32
        assert (kind, point) == (ir.DataType.INT32 if bias else ir.DataType.INT8, 0)
        assert scale.shape == ()
        assert np.frexp(scale)[0] == 0.5
    for layer in weighted_layers(lowered.graph):
        wanted = {"kernel_shape", "strides", "dilations", "group", "pads"}
        assert layer.op_type == "Gemm" or wanted <= set(layer.attributes)


def test_no_int4_no_newer_opset():
    """A target without INT4 leaves the opset of the float model as it is; others need 21."""
    model = ir.from_proto(nets.detector())
    before = model.opset_imports[""]
    assert before < 21
    for target, opset in (("vitisai", before), ("tensorrt", before), ("portable", 21)):
        prepared = prepare(model, plan_of(Recipe(bits=4, target=target)))
        assert prepared.opset_imports[""] == opset


def test_portable_and_symmetric():
    """Portable is the canonical graph but for its Clips; symmetric has no zero point but 0."""
    canonical, lowered, _ = written("portable", 4, 4)
    before, after = ([n.op_type for n in m.graph] for m in (canonical, lowered))
    rewritten = [("Min", "Max") if kind == "Clip" else (kind,) for kind in before]
    assert after == [kind for kinds in rewritten for kind in kinds]
    _, lowered, _ = written("symmetric", 4, 4)
    assert {point for _, _, point, _ in grids(lowered)} == {0}
