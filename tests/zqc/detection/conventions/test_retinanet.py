"""RetinaNet and EfficientDet: their heads, read as torchvision and effdet read them."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import (
    STRIDES,
    Builder,
    check_reference,
    facts_of,
    torchvision_heads,
)
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.retinanet import EfficientDet, RetinaNet

HEADS = {"cls_logits": 6, "bbox_regression": 4}


def effdet_heads(*, width=64, activation="silu", kernel=1, boxes=36):
    """Both heads on five grids: a depthwise and a pointwise convolution behind an activation."""
    net = Builder()
    for level, stride in enumerate(STRIDES):
        net.conv(f"a{level}", net.grid(stride), width)
        if activation == "silu":
            net.add(f"s{level} = Sigmoid(a{level})")
            net.add(f"b{level} = Mul(a{level}, s{level})")
        else:
            net.add(f"b{level} = Clip(a{level}, zero, six)", zero=0.0, six=6.0)
        net.conv(f"d{level}", f"b{level}", width, width, group=width, kernel=3)
    for name, channels in (("scores", 45), ("boxes", boxes)):
        for level in range(len(STRIDES)):
            net.conv(f"{name}{level}", f"d{level}", channels, width, kernel=kernel)
            net.output(f"{name}{level}", rank=4)
    return net.model()


def test_the_heads_of_torchvision_are_read_as_torchvision_does():
    """Anchors, boxes and scores equal those of its own post-processing."""
    found = check_reference("retinanet", torchvision_heads(HEADS, 9), clipped=True)
    assert isinstance(found, RetinaNet)
    assert (found.classes, found.task, found.mode) == (5, "detect", "letterbox")


@pytest.mark.parametrize(
    ("columns", "anchors", "options"),
    [
        (HEADS, 6, {}),
        (HEADS, 9, {"order": "0,1,3,4,2"}),
        (HEADS, 9, {"squashed": True}),
        ({"cls_logits": 6, "bbox_regression": 5}, 9, {}),
        ({"cls_logits": 4, "bbox_regression": 4}, 9, {}),
    ],
)
def test_other_heads_are_not_known(columns, anchors, options):
    """Of another number of anchors, another order, behind a sigmoid, or of five or only four."""
    assert recognise(facts_of(torchvision_heads(columns, anchors, **options))) is None


def test_effdet_is_read_as_effdet_does():
    """Anchors, boxes and scores of every level equal those of its own post-processing."""
    found = check_reference("efficientdet", effdet_heads())
    assert isinstance(found, EfficientDet)
    assert found.classes == 5


def test_the_lite_models_have_smaller_anchors():
    """ReLU6 tells them: their smallest anchor is three strides wide, not four."""
    full, lite = (recognise(facts_of(effdet_heads(activation=a))) for a in ("silu", "relu6"))
    assert isinstance(full, EfficientDet)
    assert isinstance(lite, EfficientDet)
    np.testing.assert_allclose(lite.anchors[:, 2:] / full.anchors[:, 2:], 0.75, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"width": 63}, {"kernel": 3}, {"boxes": 27}], ids=["width", "kernel", "anchors"]
)
def test_other_retinanets_are_not_known(options):
    """Heads of an unpublished width, with whole convolutions, or of fewer anchors."""
    assert recognise(facts_of(effdet_heads(**options))) is None
