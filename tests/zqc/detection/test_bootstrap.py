"""The interval of a difference of AP."""

import numpy as np
import pytest

from tests.zqc.detection.scenes import random_scenes
from tests.zqc.detection.test_average_precision import BOXES, found, truth
from zqc.detection.average_precision import accuracy_and_matches
from zqc.detection.bootstrap import difference_interval


def matches(labelled, detections):
    """Return what the interval is computed from."""
    return accuracy_and_matches(labelled, detections)[1]


def test_equal_detections_differ_by_nothing():
    """Whatever is drawn, both models have the same AP: the samples are paired."""
    one = matches(*random_scenes(0))
    interval = difference_interval(one, one)
    assert (interval.difference, interval.low, interval.high) == (0, 0, 0)
    assert (interval.confidence, interval.samples) == (0.95, 1000)


def test_the_interval_holds_the_difference_and_is_repeatable():
    """Boxes that are further off have less AP, surely; the seed decides the rest."""
    labelled, near = random_scenes(1, pictures=40, shift=1)
    _, far = random_scenes(1, pictures=40, shift=8)
    one, other = matches(labelled, near), matches(labelled, far)
    interval = difference_interval(one, other)
    assert interval.low < interval.difference < interval.high < 0
    assert difference_interval(one, other) == interval
    assert difference_interval(one, other, seed=1) != interval
    turned = difference_interval(other, one)
    assert (turned.low, turned.high) == pytest.approx((-interval.high, -interval.low))


def test_the_interval_is_that_of_a_binomial():
    """One box in each of n pictures and no false ones: AP is nearly the share that is found.

    Half are lost, so the standard error is sqrt(0.5·0.5/n), and the interval is 1.96 of it each
    way; AP itself comes in steps of a recall.
    """
    count, recall = 400, 1 / 101
    labelled = [truth(BOXES[:1], (0,), (False,))] * count
    every = [found(BOXES[:1], [0.9])] * count
    some = [found(BOXES[:1], [0.9]) if i % 2 else found([], []) for i in range(count)]
    interval = difference_interval(matches(labelled, every), matches(labelled, some))
    assert interval.difference == pytest.approx(-0.5, abs=recall)
    half = (interval.high - interval.low) / 2
    assert half == pytest.approx(1.96 * np.sqrt(0.25 / count), abs=recall)
    narrow = difference_interval(
        matches(labelled, every), matches(labelled, some), confidence=0.5, samples=200
    )
    assert narrow.high - narrow.low < half
