"""What is known of a detector that was loaded."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests import nets
from zqc.commands.detector import detector_of
from zqc.errors import OptionError
from zqc.model_io import model_file

EXAMPLE = Path(__file__).parents[3] / "examples" / "detector.onnx"


def test_the_example_is_recognised():
    """Its convention, its classes by name, and that pictures keep their proportions."""
    found = detector_of(model_file.load(EXAMPLE))
    assert found.convention is not None
    assert (found.convention.name, found.convention.classes) == ("yolo", 10)
    assert found.names[0] == "T-shirt"
    assert (found.fit(), found.fit("stretch")) == ("letterbox", "stretch")
    assert "10 classes (T-shirt, trouser" in found.text


def test_the_convention_is_that_of_what_can_be_compared(tmp_path):
    """Anchors that fit no output are refused, as everywhere."""
    loaded = model_file.load(EXAMPLE)
    assert detector_of(loaded, whole=False).convention.name == "yolo"
    np.save(tmp_path / "anchors.npy", np.ones((3, 4), np.float32))
    with pytest.raises(OptionError, match="anchors"):
        detector_of(loaded, whole=False, anchors=tmp_path / "anchors.npy")


def test_a_sequence_among_the_outputs_is_no_detection(tmp_path):
    """It has no shape; what the others are is recognised all the same."""
    proto = nets.detector(height=64, width=64)
    proto.graph.node.append(helper.make_node("SplitToSequence", ["features"], ["parts"], axis=1))
    kind = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    proto.graph.output.append(kind)
    onnx.save(proto, tmp_path / "sequence.onnx")
    found = detector_of(model_file.load(tmp_path / "sequence.onnx"))
    assert set(found.facts.outputs) == {"output"}
