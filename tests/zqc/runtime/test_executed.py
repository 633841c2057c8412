"""What became of every layer, read from what ONNX Runtime made of the model."""

import numpy as np
import onnx_ir as ir
import pytest

from passes import QuantizeActivations, QuantizeWeights
from passes.analysis.quantization_points import quantization_points
from passes.arithmetic import Grid
from tests import nets
from tests.calibration import lowered as lowered_to
from tests.passes.helpers import build_model
from zqc.errors import FloatKernelsError
from zqc.runtime import session
from zqc.runtime.executed import (
    float_operators,
    layer_reports,
    require_integer,
    tail_starts,
    unquantized_operators,
)

NET = """(float[1,3,8,8] x) => (float[n,c,h,w] y, float[n,c,h,w] z) {
    [stem] a = Conv(x, w)
    [kept] b = Conv(a, v)
    [behind] s = Softplus(b)
    [body] c = Conv(s, t)
    [up] d = ConvTranspose<strides=[2,2]>(c, u)
    r = Relu(d)
    [head] e = Conv(r, v)
    y = Exp(e)
    f = Neg(e)
    z = Softplus(f)
}"""
KEPT = ("kept", "behind")  # ONNX Runtime quantizes a float layer between two pairs by itself


@pytest.fixture(scope="module")
def models():
    """The canonical W4A8 model with a layer kept in float, and what ONNX Runtime runs."""
    rng = np.random.default_rng(0)
    model = build_model(
        NET,
        w=rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        v=rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        t=rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        u=rng.normal(size=(4, 4, 2, 2)).astype(np.float32),
    )
    points = quantization_points(model.graph, excluded=KEPT)
    grids = {name: Grid(2, 8, not point.nonnegative) for point in points for name in point.names}
    grids["s"] = Grid(2, 5, signed=False)
    QuantizeActivations(grids)(model)
    QuantizeWeights(bits=4, excluded=KEPT)(model)
    return model, session.executed_graph(lowered_to(model, "ort-x86"))


def test_every_layer_has_a_report(models):
    """Bits, kernel and reason of fused, kept, transposed and edge layers."""
    reports = {report.name: report for report in layer_reports(*models, KEPT)}
    assert list(reports) == ["stem", "kept", "body", "up", "head"]
    facts = {n: (r.op_type, r.weight_bits, r.act_bits, r.integer) for n, r in reports.items()}
    assert facts == {
        "stem": ("Conv", 8, 8, True),
        "kept": ("Conv", 32, 8, False),
        "body": ("Conv", 4, 5, True),
        "up": ("ConvTranspose", 4, 8, False),
        "head": ("Conv", 8, 8, True),
    }
    assert reports["kept"].reason == "kept by --keep-float"
    assert "ConvTranspose" in reports["up"].reason
    assert [reports[n].reason for n in ("stem", "body", "head")] == ["", "", ""]


def test_chosen_bits_are_those_of_the_rounding(models):
    """3 bits are stored in INT4, yet 3 is what is said; float by choice has its own reason."""
    found = layer_reports(*models, (), {"body": 3, "stem": 8, "kept": 32, "up": 2})
    bits = {report.name: report.weight_bits for report in found}
    assert bits == {"stem": 8, "kept": 32, "body": 3, "up": 2, "head": 8}
    assert {r.name: r.reason for r in found}["kept"] == "the target latency allows it"


def test_layers_without_integers_say_why():
    """A float input, and a layer that ONNX Runtime did not fuse, have their own reasons."""
    model = build_model(
        "(float[2,4] x) => (float[n,c] y) { [one] a = Gemm(x, w) [two] y = Gemm(a, w) }",
        w=np.eye(4, dtype=np.float32),
    )
    QuantizeActivations({"a": Grid(1, 8, signed=True), "y": Grid(1, 8, signed=True)})(model)
    QuantizeWeights()(model)
    executed = build_model(
        "(float[2,4] x) => (float[n,c] y) { [one] a = Gemm(x, w) [two] y = Gemm(a, w) }",
        w=np.eye(4, dtype=np.float32),
    )
    one, two = layer_reports(model, executed, ())
    assert (one.act_bits, one.weight_bits, one.reason) == (32, 32, "its input x is float")
    assert (two.act_bits, two.weight_bits) == (8, 8)
    assert two.reason == "its input is float, from Gemm"
    (gone, _) = layer_reports(
        model, build_model("(float[2,4] x) => (float[n,c] y) { y = Relu(x) }"), ()
    )
    assert gone.reason == "ONNX Runtime made other operators of it"


def test_float_operators_before_the_tail(models):
    """Softplus has no integer kernel; that of the post-processing, and layers, are not listed."""
    _, executed = models
    (found,) = float_operators(executed)
    assert (found.op_type, found.names) == ("Softplus", ("behind",))
    assert found.reason == "ONNX Runtime has no integer kernel for Softplus"
    (found,) = float_operators(executed, KEPT)
    assert found.reason == "kept by --keep-float"


def test_integers_can_be_required(models):
    """Everything that stays float is named with its rule; nothing is said where nothing does."""
    layers, operators = layer_reports(*models, KEPT), float_operators(models[1])
    with pytest.raises(FloatKernelsError) as refused:
        require_integer(layers, operators)
    first, *others = str(refused.value).splitlines()
    assert "--require-integer" in first
    assert "nothing is written" in first
    assert others == [
        "  Conv kept: kept by --keep-float",
        "  ConvTranspose up: ONNX Runtime has no integer kernel for ConvTranspose",
        "  Softplus behind: ONNX Runtime has no integer kernel for Softplus",
    ]
    require_integer([layer for layer in layers if layer.integer], ())


def test_elsewhere_what_is_quantized_counts(models):
    """Without an executed graph, layers between pairs are integer, whatever ONNX Runtime fuses.

    The layer that is kept in float, and the function that reads its result without a pair, are
    named; a ReLU is one step with its layer.
    """
    quantized, _ = models
    reports = {report.name: report for report in layer_reports(quantized, None, KEPT)}
    assert [name for name, report in reports.items() if not report.integer] == ["kept"]
    assert reports["kept"].reason == "kept by --keep-float"
    assert reports["up"].integer  # ONNX Runtime has no kernel for it
    (found,) = unquantized_operators(quantized, KEPT)
    assert (found.op_type, found.names) == ("Softplus", ("behind",))
    assert found.reason == "kept by --keep-float"
    (found,) = unquantized_operators(quantized)
    assert found.reason == "its input is float, from Conv"


def test_a_fused_net_has_no_float_operators():
    """Integer operators between integer layers are none, whatever ONNX Runtime calls them."""
    rng = np.random.default_rng(0)
    model = build_model(
        """(float[1,3,8,8] x) => (float[n,c,h,w] y) {
            a = Conv(x, w)
            s = Sigmoid(a)
            m = Mul(a, s)
            p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(m)
            k = Concat<axis=1>(p, m)
            y = Conv(k, v)
        }""",
        w=rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        v=rng.normal(size=(4, 8, 1, 1)).astype(np.float32),
    )
    points = quantization_points(model.graph)
    grids = {n: Grid(2, 4, not point.nonnegative) for point in points for n in point.names}
    QuantizeActivations(grids)(model)
    QuantizeWeights()(model)
    executed = session.executed_graph(lowered_to(model, "ort-x86"))
    assert float_operators(executed) == ()


def test_the_tail_starts_where_layers_end():
    """Both operators that read the head's output begin the post-processing, no later one does."""
    model = build_model(
        NET,
        w=np.ones((4, 3, 1, 1), np.float32),
        v=np.ones((4, 4, 1, 1), np.float32),
        u=np.ones((4, 4, 2, 2), np.float32),
        t=np.ones((4, 4, 1, 1), np.float32),
    )
    assert tail_starts(model) == ("Exp make_y", "Neg make_f")


def test_layers_that_nothing_touches_are_listed():
    """A Conv inside of an If and a fused one of ONNX Runtime are float, with the reason."""
    text = """(float[1,3,8,8] x) => (float[1,4,8,8] y) {
        most = ReduceMax<keepdims=0>(x) positive = Greater(most, none)
        a = com.microsoft.FusedConv<activation="Relu">(x, w)
        y = If(positive) <
            then_branch = yes () => (float[1,4,8,8] p) { [inner] p = Conv(a, v) },
            else_branch = no () => (float[1,4,8,8] q) { q = Identity(a) }
        >
    }"""
    arrays = {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((4, 4, 1, 1), np.float32)}
    proto = nets.model(
        f"net {text}", opset=17, domains=["com.microsoft"], none=np.float32(0), **arrays
    )
    model = ir.from_proto(proto)
    inner, fused = layer_reports(model, session.executed_graph(model), ())
    assert (inner.name, inner.reason, inner.integer) == ("inner", "stands inside an If", False)
    assert "no integer kernel for com.microsoft.FusedConv" in fused.reason
