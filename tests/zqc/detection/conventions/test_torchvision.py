"""Whole detectors of torchvision."""

from dataclasses import replace

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import ALL, Builder, facts_of
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.torchvision import Torchvision


def selected(
    *, scaled="Mul", order=("boxes", "scores", "labels"), labels="int64", nms=True, columns=range(4)
):
    """The best of six boxes, scaled column by column to the size that the picture had."""
    net = Builder()
    net.shaped("cells", net.conv("heads", net.grid(64), 6), 1, 6, 4)
    net.add("likely = Sigmoid(cells)")
    if nms:
        net.add("kept = NonMaxSuppression(cells, across, most)", most=np.array([3]))
        net.add("across = Transpose<perm=[0,2,1]>(likely)")
        net.lines[-2:] = net.lines[:-3:-1]
        net.add("places = Gather<axis=1>(kept, two)", two=np.array(2))
        net.add("whole = Gather<axis=1>(kept, one)", one=np.array(1))
    else:
        net.add("places = Identity(some)", some=np.array([0, 2, 4]))
        net.add("whole = Identity(some)")
    net.shaped("flat", "cells", 6, 4)
    net.add("picked = Gather(flat, places)")
    net.add("c0, c1, c2, c3 = Split<axis=1, num_outputs=4>(picked)")
    for column in range(4 if scaled else 0):
        net.add(f"m{column} = {scaled}(c{column}, ratio)", ratio=2.0)
    columns = [f"{'m' if scaled else 'c'}{column}" for column in columns]
    net.add(f"boxes = Concat<axis=1>({', '.join(columns)})")
    net.add("second = Gather<axis=2>(likely, first)", first=np.array(1))
    net.shaped("each", "second", 6)
    net.add("scores = Gather(each, places)")
    net.add(f"labels = {'Identity(whole)' if labels == 'int64' else 'Cast<to=1>(whole)'}")
    kinds = {"boxes": ("float", 2), "scores": ("float", 1), "labels": (labels, 1)}
    for name in order:
        net.output(name, *kinds[name])
    return net.model()


@pytest.mark.parametrize("order", [("boxes", "scores", "labels"), ("labels", "boxes", "scores")])
def test_sets_of_torchvision(order):
    """Known in any order; labels start at 1, and 0 is background."""
    convention = recognise(facts_of(selected(order=order)))
    assert convention == Torchvision("boxes", "scores", "labels", 3)
    outputs = {
        "boxes": np.array([[0, 0, 5, 5], [1, 2, 3, 4], [0, 0, 5, 5]], np.float32),
        "scores": np.array([0.625, 0.75, 0.5625], np.float32),
        "labels": np.array([3, 1, 0]),
    }
    [found] = convention.decode(outputs, ALL)
    assert found.boxes.tolist() == [[1, 2, 3, 4], [0, 0, 5, 5]]
    assert (found.labels.tolist(), found.scores.tolist()) == ([0, 2], [0.75, 0.625])


def test_scaling_by_1_may_be_gone():
    """Then the columns are split and joined again, in their order."""
    assert isinstance(recognise(facts_of(selected(scaled=""))), Torchvision)
    assert recognise(facts_of(selected(scaled="", columns=(1, 0, 3, 2)))) is None


def test_what_a_selection_reads_is_no_output_of_the_model():
    """Comparisons add it to the outputs; the graph has those that the model has."""
    facts = facts_of(selected())
    more = replace(facts, outputs={"cells": (1, 6, 4), **facts.outputs})
    assert recognise(more) == recognise(facts)


def test_names_say_how_many_classes_there_are():
    """Before the graph does."""
    found = recognise(facts_of(selected(), metadata={"names": "['a', 'b']"}))
    assert found is not None
    assert found.classes == 2


@pytest.mark.parametrize("options", [{"scaled": "Add"}, {"labels": "float"}, {"nms": False}])
def test_other_sets_are_not_known(options):
    """Their labels may start at 0; or there is nothing that tells labels, or a choice."""
    assert recognise(facts_of(selected(**options))) is None
