"""Two models are run side by side, and what comes out is kept for the comparison."""

import numpy as np
import pytest

from zqc.detection.comparison import Comparison, Renamed, compare
from zqc.detection.detections import Detections
from zqc.detection.parts import OutputPart
from zqc.errors import RuntimeFailure
from zqc.pictures.images import PicturePlacement
from zqc.progress import Silent

HALF = PicturePlacement(0.5, 0.5, 0, 8, 64, 32)
"""A picture of 64 x 32 in an input of 32 x 32."""


class OneBox:
    """A convention: every picture has one box, whose score is what the output says."""

    name, task, mode, classes = "one", "detect", "letterbox", 1

    def decode(self, outputs):
        """One detection a picture."""
        box, label = np.array([[4.0, 12.0, 8.0, 16.0]]), np.zeros(1, np.int64)
        return [Detections(box, np.array([float(row[0])]), label) for row in outputs["y"]]


class Counting(Silent):
    """Counts the steps."""

    def __init__(self):
        self.steps = []

    def advance(self, note="", steps=1):
        """Keep the number of steps."""
        self.steps.append(steps)


def tensors(count):
    """Pictures whose pixels are their number."""
    return np.arange(count, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 2, 2))


def run(batch):
    """The mean of each picture, and half of it."""
    values = batch.mean(axis=(1, 2, 3))[:, None]
    return {"y": values}, {"y": values / 2}


BATCHES = [(tensors(3)[:2], (HALF, HALF)), (tensors(3)[2:], (HALF,))]
PARTS = (OutputPart("scores", "y", "scores"),)


def test_parts_and_detections_of_all_batches():
    """All pictures count, in their order; boxes are in pixels of the pictures."""
    task = Counting()
    seen = compare(run, BATCHES, PARTS, OneBox(), task=task)
    assert task.steps == [2, 1]
    assert [found.scores.tolist() for found in seen.reference] == [[0], [1], [2]]
    assert [found.scores.tolist() for found in seen.quantized] == [[0], [0.5], [1]]
    assert seen.reference[0].boxes.tolist() == [[8, 8, 16, 16]]
    assert seen.windows == ((0, -16, 4, -12),) * 3  # of an input of 2 x 2
    # Half of the values is missing: 10·log10(1 / ¼).
    assert seen.parts[0].sqnr_db == pytest.approx(6.0206, abs=1e-4)


def test_without_a_convention_the_parts_are_compared():
    """No detections on either side, the same parts."""
    seen = compare(run, BATCHES, PARTS, None, task=Counting())
    assert (seen.reference, seen.quantized, seen.windows) == ((), (), ())
    assert seen.parts[0].distinct_float == 3


def test_a_model_that_fails_is_not_passed_over():
    """What the models raise comes out, whatever was compared before."""

    def fails(batch):
        raise RuntimeFailure("no such kernel")

    with pytest.raises(RuntimeFailure, match="no such kernel"):
        compare(fails, BATCHES, PARTS, None, task=Counting())


def test_what_pairs_in_one_picture():
    """Only what is above the threshold, with the index of both boxes and their overlap."""
    boxes = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])
    first = Detections(boxes, np.array([0.9, 0.8, 0.2]), np.zeros(3, np.int64))
    second = Detections(
        boxes[1:] + np.array([0, 0, 0, 2.5]), np.array([0.7, 0.6]), np.zeros(2, np.int64)
    )
    found = Comparison((), (first, first), (second, second)).paired(1, 0.3)
    assert (len(found.reference), len(found.quantized)) == (2, 2)
    assert found.pairs == ((1, 0, 0.8),)


def classes(reference, quantized, score=0.9):
    """A comparison of boxes side by side that have these classes; -1 is no box."""

    def side(labels):
        found = np.array([(20.0 * i, 0, 20 * i + 9, 9) for i in range(len(labels))])
        one = Detections(found, np.full(len(labels), score), np.array(labels, np.int64))
        return one.take(one.labels >= 0)

    return Comparison((), (side(reference),), (side(quantized),))


NAMES = {0: "cat", 1: "dog"}


def renamed(*sides, threshold=0.3, **options):
    """What comes out as another class."""
    return classes(*sides, **options).renamed_classes(threshold, NAMES)


def test_classes_that_come_out_as_another_one():
    """Each with its name, or its number, and how many boxes; that with most boxes first."""
    found = renamed([0] * 4 + [1] * 5 + [2] * 4, [1] * 4 + [0] * 5 + [7] * 4)
    assert found == (
        Renamed("dog", "cat", 5, 5),
        Renamed("2", "7", 4, 4),
        Renamed("cat", "dog", 4, 4),
    )


@pytest.mark.parametrize(
    ("reference", "quantized", "found"),
    [
        ([0] * 3, [1] * 3, False),  # too few to say
        ([0] * 4, [1, 1, 1, 0], True),  # three quarters
        ([0] * 7, [1, 1, 1, 1, 1, 0, 0], False),  # five sevenths
        ([0] * 8, [1, 1, 1, 1, 2, 2, 2, 2], False),  # not all to the same one
        ([0] * 8, [1, 1, 1, 1, -1, -1, -1, -1], True),  # what is lost has no class
        ([0] * 8, [0, 0, 0, 0, 0, 0, 0, 0], False),
        ([0] * 8, [-1] * 8, False),
    ],
)
def test_flips_of_rounding_are_no_other_class(reference, quantized, found):
    """From 4 boxes on that pair, three quarters of them with one other class."""
    assert bool(renamed(reference, quantized)) is found


def test_only_boxes_above_the_threshold_have_a_class():
    """Below it classes are noise."""
    assert renamed([0] * 4, [1] * 4, score=0.31)
    assert not renamed([0] * 4, [1] * 4, score=0.3)
