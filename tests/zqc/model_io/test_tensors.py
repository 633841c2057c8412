"""A tensor has as many numbers as its type and shape say."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zqc.errors import ModelError
from zqc.model_io.tensors import check_tensor, number_of_bytes

TYPES = [n for n in TensorProto.DataType.keys() if n not in ("UNDEFINED", "STRING")]  # noqa: SIM118


@pytest.mark.parametrize("name", TYPES)
def test_every_type(name):
    """Of every type, what onnx writes is taken, raw or not, and less of it is not."""
    kind = TensorProto.DataType.Value(name)
    raw = helper.make_tensor("t", kind, [5], bytes(number_of_bytes(name, 5)), raw=True)
    check_tensor(raw, "t")
    raw.raw_data = raw.raw_data[:-1]
    with pytest.raises(ModelError, match=r"t has .* bytes, but its shape needs"):
        check_tensor(raw, "t")
    typed = helper.make_tensor("t", kind, [6], [1] * 6)
    check_tensor(typed, "t")
    typed.dims[0] = 9
    with pytest.raises(ModelError, match="values, but its shape needs"):
        check_tensor(typed, "t")


def test_shapes():
    """Negative sizes, and sizes that no machine holds."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "t")
    tensor.dims[:] = [-2, -2]
    with pytest.raises(ModelError, match="negative size"):
        check_tensor(tensor, "t")
    tensor.dims[:] = [2**20, 2**20]
    with pytest.raises(ModelError, match="no machine holds"):
        check_tensor(tensor, "t")


def test_unknown_type():
    """A type that onnx has no name for."""
    with pytest.raises(ModelError, match="the type 99, which ONNX does not know"):
        check_tensor(onnx.TensorProto(data_type=99, dims=[1]), "t")
