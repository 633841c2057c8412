"""Files in which exactly one thing is broken."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tools.study import spoil
from zqc.runtime import session

DETECTOR = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1,2,4,4] images) => (float[1,7,16] output) {
    w1 = DequantizeLinear(codes1, s1, z)
    c1 = Conv(images, w1, b1)
    w2 = DequantizeLinear(codes2, s2, z)
    shaped = Reshape(w2, shape)
    c2 = Conv(c1, shaped, b2)
    w3 = DequantizeLinear(codes3, s3, z)
    c3 = Conv(c1, w3, b3)
    both = Add(c2, c3)
    output = Reshape(both, flat)
}"""


@pytest.fixture
def quantized(tmp_path, rng):
    """Two heads of 7 rows on one layer; the weights of the second are stored in another shape."""
    model = onnx.parser.parse_model(DETECTOR)
    for node in model.graph.node:
        node.name = node.output[0]
    shapes = {"1": (3, 2, 1, 1), "2": (21,), "3": (7, 3, 1, 1)}
    arrays = {
        "z": np.int8(0),
        "shape": np.array([7, 3, 1, 1]),
        "flat": np.array([1, 7, 16]),
    }
    for number, shape in shapes.items():
        arrays[f"codes{number}"] = rng.integers(-127, 128, shape).astype(np.int8)
        arrays[f"s{number}"] = np.float32(0.01 * int(number))
        arrays[f"b{number}"] = rng.normal(size=3 if number == "1" else 7).astype(np.float32)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()
    )
    onnx.checker.check_model(model)
    path = tmp_path / "q.onnx"
    onnx.save(model, path)
    return path


def inner(path, *names):
    """Tensors inside of a model."""
    model = onnx.load(path)
    present = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in present
    )
    x = np.random.default_rng(7).uniform(0, 4, (1, 2, 4, 4)).astype(np.float32)
    runner = session.load(model.SerializeToString(), outputs=list(names), optimize=False)
    return [runner({"images": x})[name] for name in names]


def test_layers_are_found_through_what_reshapes_their_weights(quantized):
    """Each with the DequantizeLinear of its weight, in graph order."""
    found = spoil.layers(onnx.load(quantized))
    assert [(layer.name, weight.name) for layer, weight in found] == [
        ("c1", "w1"),
        ("c2", "w2"),
        ("c3", "w3"),
    ]


@pytest.mark.parametrize("factor", [8, 1 / 8])
@pytest.mark.parametrize("index", range(3))
def test_a_scale_off_scales_the_weights_of_one_layer(tmp_path, quantized, index, factor):
    """By the factor, to the last bit; the others are as they were, and so is the source."""
    before = quantized.read_bytes()
    wrong = spoil.spoiled(quantized, tmp_path / "w.onnx", spoil.scale_off(index, factor))
    names = ("w1", "w2", "w3")
    for place, (one, other) in enumerate(
        zip(inner(quantized, *names), inner(wrong, *names), strict=True)
    ):
        np.testing.assert_array_equal(other, one * (factor if place == index else 1))
    assert quantized.read_bytes() == before


def test_a_scale_that_is_computed_is_spoiled_too(tmp_path, quantized):
    """As files have it whose scales are packed."""
    model = onnx.load(quantized)
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "s1")
    scale.name = "packed"
    model.graph.node.insert(0, onnx.helper.make_node("Identity", ["packed"], ["s1"]))
    path = tmp_path / "packed.onnx"
    onnx.save(model, path)
    wrong = spoil.spoiled(path, tmp_path / "w.onnx", spoil.scale_off(0, 8))
    np.testing.assert_array_equal(inner(wrong, "w1")[0], 8 * inner(path, "w1")[0])


def test_classes_stand_in_another_order(tmp_path, quantized):
    """The four rows of boxes stay, and nothing is computed anew."""
    order = [2, 0, 1]
    wrong = spoil.spoiled(quantized, tmp_path / "w.onnx", spoil.permuted_classes(order))
    ((before,), (after,)) = (inner(path, "output") for path in (quantized, wrong))
    np.testing.assert_array_equal(after[:, :4], before[:, :4])
    np.testing.assert_array_equal(after[:, 4:], before[:, 4:][:, order])


def test_one_scale_rounds_the_whole_output(tmp_path, quantized):
    """To 256 steps up to the size of the picture, 4, and what is negative vanishes."""
    wrong = spoil.spoiled(quantized, tmp_path / "w.onnx", spoil.one_scale)
    ((before,), (after,)) = (inner(path, "output") for path in (quantized, wrong))
    step = np.float32(4 / 255)
    expected = np.clip(np.rint(before / step), 0, 255) * step
    np.testing.assert_allclose(after, expected, atol=1e-6)
    assert (before < 0).any()


def test_swapped_heads_have_each_others_weights(tmp_path, quantized):
    """And biases; the layer before them is as it was."""
    wrong = spoil.spoiled(quantized, tmp_path / "w.onnx", spoil.swapped_heads("c2", "c3"))
    onnx.checker.check_model(onnx.load(wrong))
    c1, c2, c3 = inner(quantized, "c1", "c2", "c3")
    same, first, second = inner(wrong, "c1", "c2", "c3")
    np.testing.assert_array_equal(same, c1)
    np.testing.assert_allclose(first, c3, rtol=1e-6)
    np.testing.assert_allclose(second, c2, rtol=1e-6)
