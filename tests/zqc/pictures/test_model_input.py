"""What a model says about the pictures that it takes."""

import onnx_ir as ir
import pytest

from zqc.errors import ModelError
from zqc.pictures.model_input import fixed_batch, input_name, picture_shape


def model_of(shape):
    """A model whose only input has the shape."""
    value = ir.Value(name="images", shape=None if shape is None else ir.Shape(shape))
    graph = ir.Graph([value], [], nodes=[], opset_imports={"": 17})
    return ir.Model(graph, ir_version=8)


@pytest.mark.parametrize(("batch", "fixed"), [(3, 3), ("N", None), (None, None)])
def test_a_picture(batch, fixed):
    """Name, channels, height and width, whatever the batch; the batch only where it is fixed."""
    model = model_of([batch, 3, 24, 32])
    assert input_name(model) == "images"
    assert picture_shape(model) == (3, 24, 32)
    assert fixed_batch(model) == fixed


@pytest.mark.parametrize("shape", [None, [1], [1, 3, 24], [1, 3, "H", 32], [1, 3, 2, 24, 32]])
def test_what_is_no_picture_is_refused(shape):
    """Another rank, or a size that is open."""
    with pytest.raises(ModelError, match=r"no picture of shape \(N, C, H, W\)"):
        picture_shape(model_of(shape))
