"""What ``zqc inspect`` finds in a model."""

import onnx
import pytest

from tests import nets
from zqc.commands.inspect import NodeName, Tensor, inspect


def test_inspect(detector_file):
    """Everything is counted on the loaded model, the versions are those of the file."""
    result = inspect(detector_file)
    assert result.path == str(detector_file)
    assert result.bytes_on_disk == detector_file.stat().st_size
    assert (result.opset, result.ir_version) == (13, 8)
    assert result.inputs == (Tensor("images", "float32", ("N", 3, 16, 16)),)
    assert result.outputs == (Tensor("output", "float32", ("N", 6, 64)),)
    # stem, BatchNorm, boxes, scores, stride
    assert result.parameters == 8 * 27 + 4 * 8 + 4 * 8 + 2 * 8 + 1
    assert result.operators["Conv"] == 3
    assert sum(result.operators.values()) == 10
    assert [layer.op_type for layer in result.layers] == ["Conv"] * 3
    assert result.layers[0] == NodeName("Conv", "conv")
    assert result.batch_norms == 1
    assert result.post_processing == 5
    assert [begin.split()[0] for begin in result.post_processing_begins] == ["Reshape", "Reshape"]


@pytest.mark.parametrize("size", [(32, 48), (64, 64)])
def test_inspect_dynamic_size(tmp_path, size):
    """Shapes are those at the given size."""
    path = tmp_path / "model.onnx"
    onnx.save(nets.detector(height="H", width="W"), path)
    result = inspect(path, input_shape=size)
    assert result.inputs[0].shape == ("N", 3, *size)
    assert result.outputs[0].shape == ("N", 6, size[0] * size[1] // 4)
