"""What the graph shows: what is computed behind the last layers, and how wide those are."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import facts_of
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.yolo_graph import (
    computed_by,
    is_picked,
    moved_from,
    score_mask,
    scores_along,
    sizes_before,
    value_of,
)
from zqc.detection.parts import OutputPart

FACTS = facts_of("""(float[1, 3, 4, 4] x, float[4, 3, 1, 1] w, float[2, 3, 1, 1] v)
  => (float[1, 16, 6] y, float[1, 4, 4, 4] z, float[1, 6, 5] t)
  <int64[3] shape = {1, -1, 16}, float two = {2.0}, int64[1] k = {5}> {
    z = Conv(x, w)  b = Conv(x, v)  s = Sigmoid(b)  twice = Mul(z, two)
    j = Concat<axis = 1>(twice, s)  flat = Reshape(j, shape)
    y = Transpose<perm = [0, 2, 1]>(flat)
    high = Exp(flat)  t, places = TopK(high, k)
}""")


def test_operators_behind_the_last_layers():
    """What moves values is left out, and what stands before the layers is not seen."""
    assert computed_by(value_of(FACTS, "y")) == {"Mul", "Sigmoid"}
    assert computed_by(value_of(FACTS, "z")) == set()


def test_channels_of_the_last_layers():
    """In the order in which they are joined."""
    assert sizes_before(value_of(FACTS, "y")) == [4, 2]
    assert sizes_before(value_of(FACTS, "z")) == [4]


def test_what_moves_values_is_seen_through():
    """Up to where they are joined."""
    assert moved_from(value_of(FACTS, "y")).op_type == "Concat"
    assert moved_from(value_of(FACTS, "z")).op_type == "Conv"
    assert moved_from(None) is None


def test_selected_outputs():
    """Behind TopK, and not."""
    assert is_picked(FACTS, "t")
    assert not is_picked(FACTS, "y")
    assert not is_picked(Facts({"t": (1, 6, 5)}, 8, 8), "t")


def test_places_of_scores():
    """The last two columns are behind the sigmoid; no row is altogether."""
    assert scores_along(FACTS, "y", 2).tolist() == [False] * 4 + [True] * 2
    assert scores_along(FACTS, "y", 1) is None
    assert scores_along(FACTS, "z", 1) is None
    assert score_mask(FACTS, "y").sum() == 32


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (OutputPart("scores", "o", "scores"), [True, True]),
        (OutputPart("boxes", "o", "boxes"), [False, False]),
        (OutputPart("o", "o", "raw"), None),
        (OutputPart("scores", "o", "scores", np.ones((3, 3), bool)), None),
        (OutputPart("scores", "other", "scores"), None),
    ],
)
def test_parts_decide(part, expected):
    """Whole outputs need no mask; what is raw, elsewhere or of another shape says nothing."""
    found = scores_along(Facts({"o": (1, 2, 3)}, 8, 8, parts=(part,)), "o", 1)
    assert (None if found is None else found.tolist()) == expected
