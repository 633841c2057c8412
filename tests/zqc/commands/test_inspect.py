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
    assert result.layers[0] == NodeName("Conv", "conv", "", (8, 3, 3, 3))
    assert result.batch_norms == 1
    assert result.post_processing == 5
    assert [begin.split()[0] for begin in result.post_processing_begins] == ["Reshape", "Reshape"]


def test_the_state_of_batchnorm_decides_what_comes_next(tmp_path, detector_file):
    """Kept: compile. Folded: compile, with noise. The command names the file, ready to paste."""
    kept = inspect(detector_file)
    assert (kept.statistics_state, kept.open_size) == ("kept", None)
    assert kept.advice == f"zqc compile {detector_file}"
    model = nets.detector()
    index = [node.op_type for node in model.graph.node].index("BatchNormalization")
    node = model.graph.node[index]
    replaced = onnx.helper.make_node("Identity", node.input[:1], node.output[:1])
    model.graph.node.remove(node)
    model.graph.node.insert(index, replaced)
    path = tmp_path / "two words.onnx"
    onnx.save(model, path)
    folded = inspect(path)
    assert folded.statistics_state == "folded"
    assert "--images" in folded.statistics
    assert folded.advice == f"zqc compile '{path}'"


def test_open_sizes_are_shown_as_the_file_has_them(tmp_path):
    """Not those of the size that was taken, which is said beside and stands in the command."""
    path = tmp_path / "model.onnx"
    onnx.save(nets.detector(height="H", width="W"), path)
    result = inspect(path)
    assert result.inputs[0].shape == ("N", 3, "H", "W")
    assert result.open_size == (640, 640)
    assert result.advice.endswith("--input-shape 640x640")
    text = str(result)
    assert "640x640" in text
    assert "conv: Conv 8×3×3×3, 216 weights" in text


@pytest.mark.parametrize("size", [(32, 48), (64, 64)])
def test_inspect_dynamic_size(tmp_path, size):
    """Shapes are those at the given size."""
    path = tmp_path / "model.onnx"
    onnx.save(nets.detector(height="H", width="W"), path)
    result = inspect(path, input_shape=size)
    assert result.inputs[0].shape == ("N", 3, *size)
    assert result.outputs[0].shape == ("N", 6, size[0] * size[1] // 4)
