"""Rotated boxes, with what the package's own suppression finds."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import (
    SELECTION,
    facts_of,
    reference,
    rows_network,
)
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolo_obb import YoloObb

NETWORK = rows_network(("box", 4), ("scores", 2), ("raw", 1))


@pytest.mark.parametrize("metadata", [{}, {"task": "obb"}])
def test_a_network_is_known_and_decoded_as_by_its_package(metadata):
    """What is kept, and the corners of it, are those of ultralytics."""
    convention = recognise(facts_of(NETWORK, metadata=metadata))
    assert convention == YoloObb("output0", 2)
    output, expected, corners = reference("obb", "obb_found", "obb_corners")
    [found] = convention.decode({"output0": output}, SELECTION)
    assert found.scores.tolist() == expected[:, 4].tolist()
    assert found.labels.tolist() == expected[:, 5].tolist()
    assert np.allclose(found.corners, corners, atol=1e-4)
    assert np.allclose(found.boxes[:, :2], corners.min(axis=1), atol=1e-4)
    assert np.allclose(found.boxes[:, 2:], corners.max(axis=1), atol=1e-4)
