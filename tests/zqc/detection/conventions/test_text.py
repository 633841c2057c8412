"""Maps of where there is text."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.zqc.detection.conventions.families import REFERENCES, Builder, facts_of
from tools.reference.conventions_families import random_outputs
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.text import DbNet
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat
from zqc.runtime.session import load

SHARED = Path(__file__).parents[5] / "shared"
DETECTOR = SHARED / "models" / "ppocrv3_det_bn.onnx"


def network(*, last="ConvTranspose", channels=1, squash="Sigmoid"):
    """A map of the size of the picture from its means over 4 x 4 pixels."""
    net = Builder()
    net.conv("head", net.grid(4), 8)
    weights = {"w1": np.ones((8, 8, 2, 2), np.float32)}
    net.add("twice = ConvTranspose<strides=[2,2]>(head, w1)", **weights)
    net.add("relu = Relu(twice)")
    net.add(
        "large = ConvTranspose<strides=[2,2]>(relu, w2)",
        w2=np.ones((8, channels, 2, 2), np.float32),
    )
    if last == "Conv":
        net.conv("raw", "large", channels, channels)
    else:
        net.add("raw = Add(large, bias)", bias=np.zeros((1, channels, 1, 1), np.float32))
    net.add(f"map = {squash}(raw)")
    net.output("map", rank=4)
    return net.model()


def test_texts_are_found_as_opencv_finds_them():
    """Scores, and the corners of rotated rectangles, of bars in a map; dim and small ones not."""
    convention = recognise(facts_of(network()))
    assert isinstance(convention, DbNet)
    assert (convention.task, convention.classes) == ("text", 1)
    [found] = convention.decode(random_outputs("dbnet"))
    expected = np.load(REFERENCES)["dbnet"]
    assert len(found) == len(expected) == 3
    np.testing.assert_allclose(found.scores, expected[:, 8], atol=0.01)
    for mine, theirs in zip(found.corners, expected[:, :8].reshape(-1, 4, 2), strict=True):
        distances = np.linalg.norm(mine[:, None] - theirs[None], axis=-1)
        assert distances.min(axis=0).max() < 1e-3
        assert distances.min(axis=1).max() < 1e-3
    low, high = found.corners.min(axis=1), found.corners.max(axis=1)
    assert np.array_equal(found.boxes, np.concatenate([low, high], axis=1))
    assert found.labels.tolist() == [0, 0, 0]


def test_the_best_texts_are_kept_and_none_is_no_error():
    """An empty map holds none."""
    [found] = DbNet("map").decode({"map": np.zeros((1, 1, 8, 8), np.float32)})
    assert (len(found), found.boxes.shape, found.corners.shape) == (0, (0, 4), (0, 4, 2))


@pytest.mark.parametrize("options", [{"last": "Conv"}, {"channels": 2}, {"squash": "Relu"}])
def test_other_maps_are_not_known(options):
    """A mask behind a convolution, two channels, no sigmoid."""
    assert recognise(facts_of(network(**options))) is None


def test_users_may_say_what_a_map_is():
    """The graph need not show it then, but the size must fit."""
    assert DbNet.of(facts_of(network(last="Conv"), family="dbnet")) == DbNet("map")
    assert DbNet.of(facts_of(network(channels=2), family="dbnet")) is None


@pytest.mark.skipif(not DETECTOR.is_file(), reason="real detectors are not here")
def test_a_real_detector_finds_real_text():
    """In each picture of text, with boxes in the picture."""
    run = load(DETECTOR, threads=2)
    images = open_images(
        SHARED / "images" / "text",
        channels=3,
        height=320,
        width=320,
        input_format=InputFormat.from_mean_std(
            (0.406, 0.456, 0.485), (0.225, 0.224, 0.229), bgr=True
        ),
        mode=DbNet.mode,
        limit=3,
    )
    for tensors, [placement] in images.placed_batches(1):
        outputs = run({"x": tensors})
        shapes = {name: value.shape for name, value in outputs.items()}
        convention = recognise(Facts(shapes, 320, 320, graph=ir.load(DETECTOR).graph))
        assert isinstance(convention, DbNet)
        [found] = convention.decode(outputs)
        assert len(found) >= 1
        assert (found.in_picture(placement).boxes[:, 2:] > 0).all()
