"""Agreement of detections, by hand and as properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zqc.detection.scenes import random_scenes
from tests.zqc.detection.test_average_precision import found
from zqc.detection.pairing import (
    pair_detections,
    same_count_threshold,
    usable_threshold,
)

A, B, C, D = ([x, 0, x + 100, 100] for x in (0, 200, 400, 600))
NEAR_B = [200, 0, 300, 80]  # IoU 0.8 with B
NOTHING = found([], [])


def test_a_case_by_hand():
    """Kept with an overlap, lost but there below the threshold, lost, new, and another class."""
    reference = found([A, B, C, D], [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 1])
    quantized = found([A, NEAR_B, C, D], [0.8, 0.5, 0.2, 0.6], [0, 0, 0, 0])
    result = pair_detections([reference, NOTHING], [quantized, NOTHING], names={1: "dog"})
    counts = result.counts
    assert (counts.float_boxes, counts.kept, counts.lost, counts.lost_below) == (4, 2, 2, 1)
    assert (counts.new, counts.new_below) == (1, 0)
    assert counts.iou == pytest.approx((1 + 0.8) / 2)
    assert counts.shift_mean == counts.shift_median == pytest.approx(-0.2)
    assert (counts.precision, counts.recall) == (2 / 3, 2 / 4)
    assert counts.f1 == pytest.approx(4 / 7)
    zero, one = result.classes
    assert (zero.label, zero.name, one.label, one.name) == (0, "0", 1, "dog")
    assert (zero.counts.kept, zero.counts.lost, zero.counts.new) == (2, 1, 1)
    assert (one.counts.kept, one.counts.lost, one.counts.new) == (0, 1, 0)
    assert math.isnan(one.counts.iou)
    assert math.isnan(one.threshold)
    assert result.pictures == ((0, pytest.approx(4 / 7)),)
    assert result.threshold == pytest.approx(0.1)
    assert (result.at_threshold.kept, result.at_threshold.new) == (3, 1)


def test_the_greatest_overlap_is_paired_first():
    """One quantized box on two float ones: the nearer has it, whatever the scores are."""
    reference = found([A, [0, 0, 100, 60]], [0.9, 0.5])
    quantized = found([[0, 0, 100, 65]], [0.9])
    counts = pair_detections([reference], [quantized]).counts
    assert (counts.kept, counts.lost, counts.new) == (1, 1, 0)
    assert counts.iou == pytest.approx(60 / 65)
    assert counts.shift_mean == pytest.approx(0.4)


def test_a_new_box_that_the_float_model_is_not_sure_of():
    """A score that rises over the threshold is new, but not from nowhere."""
    counts = pair_detections([found([A, B], [0.9, 0.29])], [found([A, B], [0.9, 0.31])]).counts
    assert (counts.kept, counts.new, counts.new_below) == (1, 1, 1)


def test_lower_scores_ask_for_a_lower_threshold():
    """All scores halved: half of the boxes are lost at 0.3, none at the threshold that is named."""
    scores = np.array([0.9, 0.7, 0.5, 0.32, 0.28])
    boxes = [A, B, C, D, [800, 0, 900, 100]]
    result = pair_detections([found(boxes, scores)], [found(boxes, scores / 2)])
    assert (result.counts.kept, result.counts.lost_below) == (2, 2)
    assert result.threshold == pytest.approx((0.16 + 0.14) / 2)
    assert (result.at_threshold.kept, result.at_threshold.new) == (4, 0)
    assert result.at_threshold.f1 == 1


def test_the_threshold_stays_where_it_does():
    """As many boxes above 0.3 already; fewer boxes than the float model has: none is enough."""
    reference = [found([A, B], [0.9, 0.4])]
    assert same_count_threshold(reference, [found([A, C], [0.9, 0.35])], 0.3) == 0.3
    assert math.isnan(same_count_threshold(reference, [found([A], [0.9])], 0.3))
    assert math.isnan(same_count_threshold([NOTHING], [found([A], [0.9])], 0.3))
    tied = same_count_threshold(reference, [found([A, B, C], [0.9, 0.5, 0.5])], 0.3)
    assert tied == 0.5  # one box: above it there is no way to have two


def test_a_float_model_that_is_never_sure():
    """Half of its best score takes the place of the threshold, and that is said."""
    reference = [found([A, B], [0.2, 0.05])]
    assert usable_threshold(reference, 0.3) == pytest.approx(0.1)
    result = pair_detections(reference, reference)
    assert (result.score_threshold, result.lowered) == (pytest.approx(0.1), True)
    assert (result.counts.float_boxes, result.counts.kept) == (1, 1)


@pytest.mark.parametrize("quantized", [NOTHING, found([A], [0.9])])
def test_a_float_model_that_finds_nothing(quantized):
    """No division by zero: nothing was compared, and what is new is counted."""
    result = pair_detections([NOTHING], [quantized])
    assert (result.score_threshold, result.lowered) == (0.3, False)
    assert (result.counts.float_boxes, result.counts.new) == (0, len(quantized))
    assert math.isnan(result.counts.recall)
    assert math.isnan(result.threshold)
    assert result.at_threshold is None
    assert len(result.pictures) == len(quantized)
    assert math.isnan(pair_detections([], []).picture_f1)


def test_a_quantized_model_that_finds_nothing():
    """Everything is lost."""
    result = pair_detections([found([A, B], [0.9, 0.8])], [NOTHING])
    assert (result.counts.lost, result.counts.lost_below, result.counts.recall) == (2, 0, 0)
    assert (result.picture_f1, result.counts.f1) == (0, 0)


def test_the_worst_pictures_come_first():
    """Then by their number; a picture without any box is left out."""
    good, half = found([A, B], [0.9, 0.8]), found([A, C], [0.9, 0.8])
    result = pair_detections([good, NOTHING, good, good], [good, NOTHING, half, NOTHING])
    assert result.pictures == ((3, 0.0), (2, 0.5), (0, 1.0))
    assert result.picture_f1 == pytest.approx(0.5)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_equal_detections_agree_in_any_order(seed):
    """All are kept, without a shift, and the float model's threshold is that of the other, too."""
    _, detections = random_scenes(seed, pictures=3)
    rng = np.random.default_rng(seed)
    result = pair_detections(detections, [d.take(rng.permutation(len(d))) for d in detections])
    assert result.counts.kept == result.counts.float_boxes > 0
    assert (result.counts.lost, result.counts.new) == (0, 0)
    assert result.counts.iou == pytest.approx(1)
    assert result.counts.shift_mean == result.counts.shift_median == 0
    assert result.threshold == 0.3
    assert result.picture_f1 == 1


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_the_two_sides_are_alike(seed):
    """Lost and new change places with the models; classes and pictures add up."""
    _, one = random_scenes(seed, pictures=3)
    rng = np.random.default_rng(seed)
    other = [d.take(rng.random(len(d)) < 0.8) for d in one]
    first, turned = pair_detections(one, other), pair_detections(other, one)
    assert (first.counts.lost, first.counts.kept) == (turned.counts.new, turned.counts.kept)
    assert first.counts.lost_below == turned.counts.new_below
    assert sum(c.counts.kept for c in first.classes) == first.counts.kept
    assert sum(c.counts.lost for c in first.classes) == first.counts.lost
    again = pair_detections(
        [d.take(rng.permutation(len(d))) for d in one],
        [d.take(rng.permutation(len(d))) for d in other],
    )
    assert again.counts.kept == first.counts.kept
    assert again.counts.shift_mean == pytest.approx(first.counts.shift_mean)
