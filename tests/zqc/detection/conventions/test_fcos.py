"""FCOS: the heads of torchvision, and those of other packages level by level."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import (
    ALL,
    STRIDES,
    Builder,
    check_reference,
    facts_of,
    torchvision_heads,
)
from zqc.detection.conventions.fcos import Fcos, TorchvisionFcos
from zqc.detection.conventions.recognise import recognise

HEADS = {"cls_logits": 6, "bbox_regression": 4, "bbox_ctrness": 1}


def by_level(last, *, strides=STRIDES, factors=STRIDES):
    """Three outputs on each grid; the distances end in Exp, in a product, or in a layer."""
    net = Builder()
    for stride, factor in zip(strides, factors, strict=True):
        grid = net.grid(stride)
        net.conv(f"scores{stride}", grid, 5)
        net.conv(f"central{stride}", grid, 1)
        if last == "exp":
            net.conv(f"raw{stride}", grid, 4)
            net.add(f"boxes{stride} = Exp(raw{stride})")
        elif last == "product":
            net.conv(f"raw{stride}", grid, 4)
            net.add(f"positive{stride} = Relu(raw{stride})")
            net.add(
                f"boxes{stride} = Mul(positive{stride}, by{stride})",
                **{f"by{stride}": float(factor)},
            )
        else:
            net.conv(f"boxes{stride}", grid, 4)
        for name in ("scores", "central", "boxes"):
            net.output(f"{name}{stride}", rank=4)
    return net.model()


def test_the_heads_of_torchvision_are_read_as_torchvision_does():
    """Places, boxes and scores equal those of its own post-processing."""
    model = torchvision_heads(HEADS, 1, relu=("bbox_regression",))
    found = check_reference("torchvision-fcos", model, clipped=True)
    assert isinstance(found, TorchvisionFcos)
    assert found.classes == 5


@pytest.mark.parametrize("options", [{}, {"order": "0,1,3,4,2", "relu": ("bbox_regression",)}])
def test_other_heads_are_not_known(options):
    """Distances that may be negative, and another order of the axes."""
    assert recognise(facts_of(torchvision_heads(HEADS, 1, **options))) is None


@pytest.mark.parametrize("last", ["exp", "product"])
def test_distances_in_pixels_start_in_the_middle_of_the_cell(last):
    """One cell with logits 2 and 1 becomes its box, with the product of both as the score."""
    convention = recognise(facts_of(by_level(last)))
    assert isinstance(convention, Fcos)
    outputs = {}
    for stride in STRIDES:
        cells = 128 // stride
        outputs[f"scores{stride}"] = np.full((1, 5, cells, cells), -20, np.float32)
        outputs[f"central{stride}"] = np.ones((1, 1, cells, cells), np.float32)
        outputs[f"boxes{stride}"] = np.zeros((1, 4, cells, cells), np.float32)
    outputs["scores16"][0, 3, 2, 5] = 2
    outputs["boxes16"][0, :, 2, 5] = [1, 2, 3, 4]
    [found] = convention.decode(outputs, ALL)
    assert found.boxes.tolist() == [[87, 38, 91, 44]]  # around (88, 40)
    assert found.labels.tolist() == [3]
    expected = 1 / (1 + np.exp(-2)) / (1 + np.exp(-1))
    assert found.scores.tolist() == pytest.approx([expected], abs=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        by_level("layer"),
        by_level("product", factors=(4, 16, 32, 64, 128)),
        by_level("exp", strides=(8, 32), factors=(8, 32)),
    ],
    ids=["not in pixels", "another factor", "a level left out"],
)
def test_what_is_not_seen_to_be_in_pixels_is_not_known(model):
    """Distances that end in a layer, or in a factor that is not the stride, and missing grids."""
    assert recognise(facts_of(model)) is None
