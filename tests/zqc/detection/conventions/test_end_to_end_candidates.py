"""Candidates of a head that selects by itself, whose selection was cut off."""

import numpy as np
import pytest

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.end_to_end import EndToEnd
from zqc.detection.conventions.end_to_end_candidates import EndToEndCandidates
from zqc.detection.conventions.recognise import recognise

METADATA = {"task": "detect", "end2end": "True", "names": "['a', 'b', 'c']"}
SHAPES = {"best": (1, 84), "scores": (1, 84, 3), "boxes": (1, 84, 4)}


def test_candidates_are_those_that_would_be_selected():
    """The best of all pairs of box and class come out, overlapping or not, as from the whole."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(8, 56, (1, 84, 4)).astype(np.float32)
    boxes, scores = corners_from_centres(centres), rng.uniform(0, 1, (1, 84, 3))
    convention = recognise(Facts(SHAPES, 64, 64, metadata=METADATA))
    assert convention == EndToEndCandidates("boxes", "scores", 3)
    [found] = convention.decode({"boxes": boxes, "scores": scores, "best": scores.max(axis=2)})
    order = np.argsort(-scores[0], axis=None)[:300]
    rows = np.column_stack([boxes[0][order // 3], scores[0].ravel()[order], order % 3])
    [expected] = EndToEnd("o", "detect", 3, 64, 64).decode({"o": rows[None]})
    assert np.allclose(found.boxes, expected.boxes)
    assert found.labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize(
    ("metadata", "shapes"),
    [
        ({"task": "detect", "names": "['a', 'b', 'c']"}, SHAPES),
        (METADATA | {"task": "obb"}, SHAPES),
        (METADATA | {"names": "['a', 'b', 'c', 'd']"}, {**SHAPES, "scores": (1, 84, 4)}),
        (METADATA | {"names": "['a', 'b']"}, SHAPES),
        (METADATA, {**SHAPES, "more": (1, 84, 5)}),
        (METADATA, {"boxes": (1, 84, 4)}),
        (METADATA, {**SHAPES, "best": (1, 83)}),
    ],
)
def test_anything_else_is_not_read(metadata, shapes):
    """What selects nothing, other tasks, and columns that may be either."""
    assert recognise(Facts(shapes, 64, 64, metadata=metadata)) is None
