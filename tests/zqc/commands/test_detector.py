"""What is known of a detector that was loaded."""

from pathlib import Path

from zqc.commands.detector import detector_of
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
