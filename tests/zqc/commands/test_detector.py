"""What is known of a detector that was loaded."""

from pathlib import Path

import numpy as np
import pytest

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
