"""What is written takes and gives what the source does."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests import nets
from tests.passes.helpers import build_model, operator_types
from tests.zqc.model_io.helpers import load
from zqc.errors import OptionError
from zqc.model_io import model_file
from zqc.runtime import session

SCALED = """net (float[N, 2] im_shape, float[N, 3, 8, 8] image, float[N, 2] scale_factor,
             int64[M] nobody) => (float[N, 2] y) {
    mean = ReduceMean <axes = [1, 2, 3], keepdims = 0> (image)
    column = Unsqueeze (mean, axis)
    scaled = Mul (column, scale_factor)
    y = Add (scaled, im_shape)
}"""


@pytest.fixture
def scaled():
    """A model with inputs beside the picture, before and behind it, and one that nothing reads."""
    return nets.model(SCALED, axis=np.array([1]))


def written(source):
    """The file of a loaded model."""
    proto = onnx.ModelProto()
    restored = source.interface.restored(source.model)
    proto.ParseFromString(model_file.serialize(restored, metadata={}))
    return proto


def test_inputs_are_kept(scaled, tmp_path):
    """All of them, in their order, with their names, types and shapes."""
    source = load(scaled, tmp_path)
    assert list(written(source).graph.input) == list(scaled.graph.input)
    assert list(written(source).graph.output) == list(scaled.graph.output)


def test_a_loaded_model_needs_the_picture_alone(scaled, tmp_path, rng):
    """The others have a value, which the file must be fed with: the same comes out."""
    source = load(scaled, tmp_path, inputs={"scale_factor": (2.0, 3.0)})
    assert source.model.graph.inputs[0].name == "image"
    tensors = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    (loaded,) = session.load(source.model, threads=1)({"image": tensors}).values()
    expected = tensors.mean() * np.array([[2.0, 3.0]]) + np.array([[8.0, 8.0]])
    np.testing.assert_allclose(loaded, expected, rtol=1e-5)
    feeds = source.interface.taken.feeds(np.repeat(tensors, 3, axis=0))
    run = session.load(written(source).SerializeToString(), threads=1)
    np.testing.assert_allclose(*run(feeds).values(), np.repeat(expected, 3, axis=0), rtol=1e-5)


def test_values_of_no_input(scaled, tmp_path):
    """A misspelt name is an error."""
    with pytest.raises(OptionError, match=r"--input scale: .*im_shape, scale_factor, nobody"):
        load(scaled, tmp_path, inputs={"scale": (1.0,)})


def test_a_plain_model_is_not_touched(tmp_path):
    """One float32 picture, channels first: what is written is the very model."""
    source = load(nets.detector(), tmp_path)
    assert source.interface.restored(source.model) is source.model


def test_pixels_on_their_own_grid_are_not_quantized(tmp_path):
    """QuantizeLinear of step 1 gives the pixels, so that layers read the input as it is."""
    text = """net (uint8[N, 3, 8, 8] x) => (float[N, 8, 6, 6] y) {
        n = Cast <to = 1> (x)
        y = Conv (n, weight)
    }"""
    source = load(nets.model(text, weight=nets.weights()["weight"]), tmp_path)
    quantized = build_model(
        """(float[N,3,8,8] x) => (float[N,3,8,8] y) {
            q = QuantizeLinear(x, one, zero)
            y = DequantizeLinear(q, one, zero)
        }""",
        one=1.0,
        zero=np.uint8(0),
    )
    restored = source.interface.restored(quantized)
    assert operator_types(restored) == ["DequantizeLinear"]
    assert restored.graph.inputs[0].dtype is ir.DataType.UINT8
    assert operator_types(quantized) == ["QuantizeLinear", "DequantizeLinear"]
