"""A file that is written has the inputs and outputs that its source declared."""

import onnx
import onnx_ir as ir
import pytest

from tests import nets
from tests.zqc.model_io.helpers import CONV_NORM, load
from zqc.model_io import model_file

BODY = f"{{ {CONV_NORM} y = Relu (normed) }}"


def written(proto, tmp_path, *, batch=None, **options):
    """What becomes of a model that is only read and written, or fixed to a batch in between."""
    source = load(proto, tmp_path, **options)
    if batch is not None:
        source.model.graph.inputs[0].shape = ir.Shape([batch, 3, 8, 8])
        source.model.graph.outputs[0].shape = ir.Shape([batch, 8, 8, 8])
    content = model_file.serialize(source.model, metadata={}, source=source)
    return onnx.ModelProto.FromString(content)


def sizes(value):
    """Sizes and names of the dimensions of an input or output; None where there is neither."""
    return [d.dim_value or d.dim_param or None for d in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize(
    "declared",
    ["float[N, 8, 8, 8]", "float[N, 8, h, w]", "float[?, ?, ?, 8]", "float[rows, 8, ?, 8]"],
)
def test_open_sizes_stay_open(declared, tmp_path):
    """What a shape inference knows better is not written into what others rely on."""
    for image in ("float[N, 3, 8, 8]", "float[?, 3, 8, 8]", "float[1, 3, 8, 8]"):
        proto = nets.model(f"net ({image} x) => ({declared} y) {BODY}", **nets.weights())
        found = written(proto, tmp_path).graph
        assert found.input[0] == proto.graph.input[0]
        assert found.output[0] == proto.graph.output[0]


def test_notes_stay(tmp_path):
    """Inputs and outputs keep what the exporter wrote beside them."""
    text = f"net (float[N, 3, 8, 8] x) => (float[N, 8, 8, 8] y) {BODY}"
    proto = nets.model(text, **nets.weights())
    proto.graph.input[0].doc_string, proto.graph.output[0].doc_string = "RGB, 0…1", "features"
    found = written(proto, tmp_path).graph
    assert (found.input[0].doc_string, found.output[0].doc_string) == ("RGB, 0…1", "features")


def test_sizes_that_were_asked_for_are_declared(tmp_path):
    """With a height and width from the options, the sizes of the outputs follow."""
    text = f"net (float[N, 3, h, w] x) => (float[N, 8, p, q] y) {BODY}"
    found = written(nets.model(text, **nets.weights()), tmp_path, input_shape=(8, 16)).graph
    assert sizes(found.input[0]) == ["N", 3, 8, 16]
    assert sizes(found.output[0]) == ["N", 8, 8, 16]


def test_a_fixed_batch_is_declared(tmp_path):
    """A target that takes one picture at a time says so in the file."""
    text = f"net (float[N, 3, 8, 8] x) => (float[N, 8, 8, 8] y) {BODY}"
    found = written(nets.model(text, **nets.weights()), tmp_path, batch=1).graph
    assert (sizes(found.input[0])[0], sizes(found.output[0])[0]) == (1, 1)


def test_what_contradicts_is_put_right(tmp_path):
    """A wrong size of an output is not handed on."""
    text = f"net (float[N, 3, 8, 8] x) => (float[N, 8, 8, 9] y) {BODY}"
    found = written(nets.model(text, **nets.weights()), tmp_path).graph
    assert sizes(found.output[0]) == ["N", 8, 8, 8]


def test_a_shape_that_was_not_declared_is(tmp_path):
    """ONNX asks outputs to have one, though ONNX Runtime loads a file without."""
    text = f"net (float[N, 3, 8, 8] x) => (float[N, 8, 8, 8] y) {BODY}"
    proto = nets.model(text, **nets.weights())
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    proto.graph.doc_string = "written by hand"
    found = written(proto, tmp_path).graph
    assert sizes(found.output[0])[1:] == [8, 8, 8]
    assert found.doc_string == "written by hand"
