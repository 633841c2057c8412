"""The stages between the border and the file, on small networks of every supported operator."""

from collections import Counter
from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import ExplicitZeroPoints
from tests.calibration import GivenBatches, plan_of
from tests.calibration import lowered as lowered_to
from tests.passes.helpers import build_model, operator_types, relative_error, run_model
from zqc.calibration.calibrate import calibrate
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.quantization.prepare import excluded_nodes, points_of, prepare
from zqc.quantization.quantize import quantize
from zqc.recipe.recipe import Recipe
from zqc.runtime import session

PRECISIONS = [(8, 8), (4, 8), (4, 4), (8, 4)]
ACTIVATIONS = {
    "relu": "{o} = Relu({i})",
    "relu6": "{o} = Clip({i}, zero, six)",
    "clip": "{o} = Clip({i}, zero)",
    "leaky": "{o} = LeakyRelu<alpha=0.1>({i})",
    "silu": "{o}_s = Sigmoid({i}) {o} = Mul({i}, {o}_s)",
    "spelled silu": """{o}_m = Neg({i}) {o}_e = Exp({o}_m)
        {o}_1 = Add({o}_e, one) {o} = Div({i}, {o}_1)""",
    "spelled hardswish": """{o}_a = Add({i}, three) {o}_c = Clip({o}_a, zero, six)
        {o}_g = Div({o}_c, six) {o} = Mul({i}, {o}_g)""",
    "sigmoid": "{o} = Sigmoid({i})",
    "none": "{o} = Identity({i})",
}
BLOCKS = (
    "conv",
    "conv",
    "depthwise",
    "residual",
    "split",
    "pool",
    "resize",
    "per channel",
    "loose batchnorm",
)
CONSTANTS = {"zero": 0.0, "one": 1.0, "three": 3.0, "six": 6.0}
CHANNELS = 8


class Network:
    """Writes a network block by block; every tensor has eight channels and 8×8 pixels."""

    def __init__(self, rng):
        self.rng = rng
        self.lines = []
        self.arrays = {
            **CONSTANTS,
            "twice": np.float32([1, 1, 2, 2]),
            "halves": np.array([4, 4]),
        }
        self.tensor = "x"

    def new(self):
        """A name that is free."""
        return f"t{len(self.lines)}"

    def array(self, *shape, low=None):
        """Random parameters; uniform above ``low`` where that is given."""
        name = f"p{len(self.arrays)}"
        fan_in = max(int(np.prod(shape[1:])), 1)
        values = (
            self.rng.normal(0, 1.5 / np.sqrt(fan_in), shape)
            if low is None
            else self.rng.uniform(low, 2, shape)
        )
        self.arrays[name] = values.astype(np.float32)
        return name

    def emit(self, text):
        """Write an operator behind the current tensor."""
        out = self.new()
        self.lines.append(text.format(o=out, i=self.tensor))
        self.tensor = out

    def activation(self, kind):
        """Write an activation function."""
        self.emit(ACTIVATIONS[kind])

    def batchnorm(self):
        """Write a BatchNorm."""
        c = CHANNELS
        gamma, beta, mean = self.array(c, low=0.5), self.array(c), self.array(c)
        variance = self.array(c, low=0.2)
        self.emit(f"{{o}} = BatchNormalization({{i}}, {gamma}, {beta}, {mean}, {variance})")

    def block(self, kind, activation):
        """Write a block, which ends in an activation function."""
        c = CHANNELS
        before = self.tensor
        same = "pads=[1,1,1,1]"
        if kind == "conv":
            self.emit(f"{{o}} = Conv<{same}>({{i}}, {self.array(c, c, 3, 3)}, {self.array(c)})")
            self.batchnorm()
        elif kind == "depthwise":
            self.emit(f"{{o}} = Conv<{same}, group={c}>({{i}}, {self.array(c, 1, 3, 3)})")
            self.batchnorm()
        elif kind == "residual":
            self.emit(f"{{o}} = Conv({{i}}, {self.array(c, c, 1, 1)})")
            self.activation(activation)
            self.emit(f"{{o}} = Add({before}, {{i}})")
        elif kind == "split":
            name = self.new()
            self.emit(f"{{o}}, {name}_b = Split<axis=1>({{i}}, halves)")
            self.emit(f"{{o}} = Conv<{same}>({{i}}, {self.array(4, 4, 3, 3)})")
            self.activation(activation)
            self.emit(f"{{o}} = Concat<axis=1>({name}_b, {{i}})")
        elif kind == "pool":
            self.emit(f"{{o}} = MaxPool<kernel_shape=[3,3], {same}>({{i}})")
        elif kind == "resize":
            self.emit(f"{{o}} = Conv<strides=[2,2], {same}>({{i}}, {self.array(c, c, 3, 3)})")
            self.activation(activation)
            self.emit(
                '{o} = Resize<mode="nearest", nearest_mode="floor", '
                'coordinate_transformation_mode="asymmetric">({i}, , twice)'
            )
        elif kind == "per channel":
            self.emit(f"{{o}} = Conv({{i}}, {self.array(c, c, 1, 1)})")
            self.emit(f"{{o}} = Mul({{i}}, {self.array(1, c, 1, 1)})")
            self.emit(f"{{o}} = Add({self.array(c, 1, 1)}, {{i}})")
            self.activation(activation)
            self.emit(f"{{o}} = Mul({{i}}, {self.array(1, c, 1, 1)})")
        elif kind == "loose batchnorm":
            self.batchnorm()
            self.activation(activation)

    def model(self):
        """Add a stem's counterpart, the head, and decoding; return the model."""
        c = CHANNELS
        self.emit(f"{{o}} = Conv({{i}}, {self.array(6, c, 1, 1)}, {self.array(6)})")
        body = "\n".join(self.lines)
        text = f"(float[n,3,16,16] x) => (float[n,6,8,8] y) {{ {body} y = Sigmoid({self.tensor}) }}"
        used = {name: array for name, array in self.arrays.items() if name in text}
        return build_model(text, opset=14, **used)

    def stem(self):
        """Write the first layer."""
        c = CHANNELS
        self.emit(f"{{o}} = Conv<strides=[2,2], pads=[1,1,1,1]>({{i}}, {self.array(c, 3, 3, 3)})")
        self.batchnorm()


def network(seed, blocks, activations):
    """A network of given blocks with given activation functions behind them."""
    written = Network(np.random.default_rng(seed))
    written.stem()
    written.activation(activations[-1])
    for block, activation in zip(blocks, activations, strict=True):
        written.block(block, activation)
    return written.model()


def random_network(seed):
    """Four random blocks with random activation functions."""
    rng = np.random.default_rng(1000 + seed)
    return network(seed, rng.choice(BLOCKS, 4), rng.choice(list(ACTIVATIONS), 4))


def whole_network():
    """Every block and every activation function but those of no integer kernel."""
    kinds = ["relu", "silu", "relu6", "leaky", "spelled silu", "none", "clip", "sigmoid", "relu"]
    return network(7, BLOCKS, kinds)


def pictures(seed, count=4):
    """Pixels from 0 to 1."""
    return np.random.default_rng(seed).uniform(0, 1, (count, 3, 16, 16)).astype(np.float32)


def quantized_of(model, recipe, batch):
    """Prepare, calibrate and quantize; return the prepared and the canonical model."""
    plan = plan_of(recipe)
    prepared = prepare(model, plan)
    plan = plan.excluding(excluded_nodes(prepared, recipe.keep_float))
    points = points_of(prepared, plan)
    with Silent().task("", 0) as task:
        ranges = calibrate(prepared, points, GivenBatches(batch), plan, task=task)
    return prepared, quantize(prepared, ranges, plan, means=ranges.means)


@cache
def whole(bits, act_bits, target="ort-x86", **more):
    """The network with every block, prepared and quantized."""
    recipe = precision_of(bits, act_bits, target=target, **more)
    return quantized_of(whole_network(), recipe, pictures(1))


def precision_of(bits, act_bits, **more):
    """A recipe for pixels in 0…1."""
    return Recipe(**({"bits": bits, "act_bits": act_bits, "input_format": InputFormat()} | more))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_survive_every_stage(seed):
    """Preparing keeps the function within 1e-4 and lowering keeps every bit, for random networks.

    The precisions take turns; the batch is not the one that was calibrated on.
    """
    model, x = random_network(seed), pictures(seed)
    recipe = precision_of(*PRECISIONS[seed % 4], target="portable")
    before = operator_types(model)
    prepared, canonical = quantized_of(model, recipe, pictures(seed + 1))
    assert operator_types(model) == before
    assert "BatchNormalization" not in operator_types(prepared)
    assert relative_error(run_model(model, x=x), run_model(prepared, x=x)) < 1e-4
    lowered = lowered_to(canonical, "ort-x86")
    expected, actual = run_model(canonical, x=x), run_model(lowered, x=x)
    assert len(np.unique(expected["y"])) > 1
    np.testing.assert_array_equal(actual["y"], expected["y"])


@pytest.mark.parametrize(("bits", "act_bits"), [*PRECISIONS, (4, 6), (3, 3)])
def test_every_convolution_fuses(bits, act_bits):
    """In the network with every block, ONNX Runtime runs each Conv on its integer kernel."""
    prepared, canonical = whole(bits, act_bits)
    lowered = lowered_to(canonical, "ort-x86")
    executed = Counter(operator_types(session.executed_graph(lowered)))
    assert executed["QLinearConv"] == operator_types(prepared).count("Conv") > 8
    assert executed["Conv"] == executed["FusedConv"] == 0


@pytest.mark.parametrize(("bits", "act_bits"), PRECISIONS)
def test_the_quantized_network_is_near_the_float_one(bits, act_bits):
    """The outputs correlate with those of the float model, the better the more bits."""
    _, canonical = whole(bits, act_bits, "portable")
    x = pictures(2)
    exact, rounded = (run_model(m, x=x)["y"].ravel() for m in (whole_network(), canonical))
    bound = {(8, 8): 0.995, (4, 8): 0.93, (4, 4): 0.6, (8, 4): 0.6}[bits, act_bits]
    assert np.corrcoef(exact, rounded)[0, 1] > bound


@pytest.mark.parametrize(("bits", "act_bits"), PRECISIONS)
@pytest.mark.parametrize("target", ["portable", "ort-x86"])
def test_results_are_valid_onnx(bits, act_bits, target):
    """The opset is the lowest with the types that are stored, and the checker passes."""
    _, canonical = whole(bits, act_bits, target)
    lowered = lowered_to(canonical, target)
    onnx.checker.check_model(ir.to_proto(lowered), full_check=True)
    needs_int4 = 4 in (bits, act_bits)
    assert lowered.opset_imports[""] == (21 if needs_int4 else 14)


def test_portable_is_canonical():
    """No runtime in mind, nothing changes but that zero points of 0 are written out."""
    _, canonical = whole(4, 4, "portable", uniform_bits=True)
    lowered = lowered_to(canonical, "portable")
    explicit = canonical.clone()
    ExplicitZeroPoints()(explicit)
    assert ir.to_proto(lowered) == ir.to_proto(explicit)


def test_the_same_input_gives_the_same_bytes():
    """Two runs write the same model."""
    again = quantized_of(whole_network(), precision_of(4, 8), pictures(1))
    runs = [lowered_to(canonical, "ort-x86") for _, canonical in (whole(4, 8), again)]
    first, second = (ir.to_proto(run).SerializeToString(deterministic=True) for run in runs)
    assert first == second


def test_kept_layers_stay_float():
    """A layer that a pattern names keeps its weights; the tensors beside it are still quantized."""
    model = whole_network()
    name = next(n.name for n in model.graph if n.op_type == "Conv" and n.inputs[0].name != "x")
    recipe = precision_of(8, 8, keep_float=(name,))
    _, canonical = quantized_of(model, recipe, pictures(1))
    for node in canonical.graph:
        if node.op_type == "Conv":
            assert (node.inputs[1].producer() is None) == (node.name == name)


def test_everything_can_be_kept_float():
    """With every node kept, nothing is quantized and nothing fails."""
    model = whole_network()
    recipe = precision_of(8, 8, keep_float=("*",))
    prepared, canonical = quantized_of(model, recipe, pictures(1))
    assert operator_types(canonical) == operator_types(prepared)
