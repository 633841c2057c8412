"""What can be demanded, and whether it holds."""

import math

import pytest

from tests.zqc.commands.small_detectors import write_detector
from zqc.commands.detector import Detector, detector_of
from zqc.commands.limits import Limit, check, check_convention, measured
from zqc.detection.average_precision import Accuracy
from zqc.detection.conventions.convention import Facts
from zqc.errors import OptionError
from zqc.model_io import model_file


@pytest.mark.parametrize("value", [0, 0.5, 100])
def test_percentages_can_be_demanded(value):
    """From 0 to 100, both ends included."""
    check(value, value, labelled=True)


@pytest.mark.parametrize("value", [-0.1, 100.1, math.nan])
@pytest.mark.parametrize("option", ["--min-agreement", "--max-drop"])
def test_other_numbers_cannot(option, value):
    """The option and the number are named."""
    limits = (value, None) if option == "--min-agreement" else (None, value)
    with pytest.raises(OptionError, match=f"{option} is {value:g}, but must be between 0 and 100"):
        check(*limits, labelled=True)


def test_a_drop_needs_labels():
    """Agreement does not."""
    check(90, None, labelled=False)
    with pytest.raises(OptionError, match="--max-drop is about mAP, which needs --labels"):
        check(None, 1, labelled=False)


def test_agreement_needs_detections(tmp_path):
    """Where nobody can read them, the demand is refused with what is known of the outputs."""
    unknown = Detector.of(Facts({"y": (1, 7)}, 64, 64))
    check_convention(None, unknown)
    with pytest.raises(OptionError, match="--min-agreement is about detections, but"):
        check_convention(90, unknown)
    path = write_detector(tmp_path / "m.onnx", batch=1)
    check_convention(90, detector_of(model_file.load(path)))


@pytest.mark.parametrize(
    ("least", "most", "met"),
    [(87.5, 3.125, (True, True)), (87.51, 3.125, (False, True)), (87.5, 3.12, (True, False))],
)
def test_both_sides_of_a_limit(least, most, met):
    """What is just reached holds; the numbers are exact in binary."""
    accuracy = Accuracy(0.75, 0.8), Accuracy(0.71875, 0.8)
    found = measured((least, most), Accuracy(0.875, 0.95), accuracy)
    assert tuple(limit.met for limit in found) == met
    assert [limit.option for limit in found] == ["--min-agreement", "--max-drop"]
    assert [limit.value for limit in found] == [87.5, 3.125]


def test_rounding_of_binary_fractions_breaks_no_limit():
    """What is reached in decimals holds, though it is missed in binary; a millionth is too much."""
    assert 100 * 0.57 < 57
    assert 100 * (0.8 - 0.79) > 1
    for miss, holds in ((0.0, True), (1e-8, False)):
        exact = Accuracy(0.57 - miss, 0.9), (Accuracy(0.8, 0.9), Accuracy(0.79 - miss, 0.9))
        assert [limit.met for limit in measured((57, 1), *exact)] == [holds, holds]


def test_only_what_was_demanded_is_held():
    """Nothing demanded, nothing said; a gain is no drop."""
    assert measured((None, None), Accuracy(0, 0), None) == ()
    (drop,) = measured((None, 0), None, (Accuracy(0.5, 0.5), Accuracy(0.6, 0.6)))
    assert (drop.met, drop.value) == (True, pytest.approx(-10))


def test_what_was_not_measured_is_not_met():
    """A build does not pass because nothing could be compared."""
    first, second = measured((0, 100), None, None)
    assert (first.met, second.met) == (False, False)
    assert math.isnan(first.value)
    assert math.isnan(second.value)
    assert first == Limit("--min-agreement", 0, first.value, False)
