"""Poses, with what the package's own suppression finds."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import (
    SELECTION,
    facts_of,
    is_found,
    reference,
    rows_network,
)
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolo_pose import YoloPose, points_of

NETWORK = rows_network(("box", 4), ("scores", 2), *[("raw", 2), ("scores", 1)] * 5)


@pytest.mark.parametrize("metadata", [{}, {"task": "pose", "kpt_shape": "[5, 3]"}])
def test_a_network_is_known_and_decoded_as_by_its_package(metadata):
    """Boxes, scores and keypoints of what is kept are those of ultralytics."""
    convention = recognise(facts_of(NETWORK, metadata=metadata))
    assert convention == YoloPose("output0", 2, (5, 3))
    output, expected = reference("pose", "pose_found")
    [found] = convention.decode({"output0": output}, SELECTION)
    assert is_found(found, expected[:, :6])
    order = np.lexsort((expected[:, 0], -expected[:, 4]))
    mine = np.lexsort((found.boxes[:, 0], -found.scores))
    assert (found.keypoints[mine].reshape(-1, 15) == expected[order, 6:]).all()


def test_keypoints_without_visibility_need_the_file():
    """Ten raw rows may be five places, or anything: only the file can say so."""
    network = rows_network(("box", 4), ("scores", 2), ("raw", 10))
    assert recognise(facts_of(network)) is None
    told = facts_of(network, metadata={"task": "pose", "kpt_shape": "[5, 2]"})
    assert recognise(told) == YoloPose("output0", 2, (5, 2))
    points = points_of(np.arange(20, dtype=np.float32).reshape(2, 10), (5, 2))
    assert points.shape == (2, 5, 3)
    assert points[1, 0].tolist() == [10, 11, 1]


def test_a_wrong_number_of_keypoints_is_a_contradiction():
    """The rows do not fit six keypoints and any class."""
    metadata = {"task": "pose", "kpt_shape": "[6, 3]"}
    assert recognise(facts_of(NETWORK, metadata=metadata)) is None
