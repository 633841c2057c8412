"""Masks, with what the package's own suppression and mask assembly find."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import (
    SELECTION,
    facts_of,
    is_found,
    reference,
    rows_network,
)
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolo_segment import YoloSegment, masks_of

NETWORK = rows_network(("box", 4), ("scores", 2), ("raw", 8), prototypes=8)


@pytest.mark.parametrize("metadata", [{}, {"task": "segment"}])
def test_a_network_is_known_and_decoded_as_by_its_package(metadata):
    """Boxes are those of ultralytics, and masks equal in every cell."""
    convention = recognise(facts_of(NETWORK, metadata=metadata))
    assert convention == YoloSegment("output0", "output1", 2, 64, 64)
    output, prototypes, expected, masks = reference(
        "segment", "prototypes", "segment_found", "segment_masks"
    )
    [found] = convention.decode({"output0": output, "output1": prototypes}, SELECTION)
    assert is_found(found, expected)
    assert found.scores.tolist() == expected[:, 4].tolist()
    assert (found.masks.arrays() == np.unpackbits(masks, axis=-1).astype(bool)).all()


def test_prototypes_say_it_without_a_graph():
    """Two such outputs are masks even where the graph shows nothing."""
    facts = Facts({"a": (1, 116, 8400), "b": (1, 32, 160, 160)}, 640, 640)
    assert recognise(facts) == YoloSegment("a", "b", 80, 640, 640)
    assert recognise(Facts({"a": (1, 36, 8400), "b": (1, 32, 160, 160)}, 640, 640)) is None


def test_a_mask_ends_at_its_box():
    """A prototype that covers all is cut: cells from 4 / 4 to below 12 / 4 and from 0 to 8 / 4."""
    box = np.array([[4, 0, 12, 8]], np.float32)
    [mask] = masks_of(np.ones((1, 1)), np.ones((1, 4, 4)), box, 16, 16).arrays()
    assert mask.astype(int).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0] * 4, [0] * 4]


def test_nothing_found_has_no_masks():
    """Scores below the threshold give arrays of no detections."""
    convention = YoloSegment("a", "b", 1, 64, 64)
    [found] = convention.decode({"a": np.zeros((1, 13, 84)), "b": np.zeros((1, 8, 16, 16))})
    assert found.masks.arrays().shape == (0, 16, 16)
