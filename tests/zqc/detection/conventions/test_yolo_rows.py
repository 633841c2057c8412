"""Nothing is read as what it is not: metadata, graph and shapes must agree, and one must speak."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import facts_of, rows_network
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolo_rows import columns, first_scores, layout

BOX, VISIBLE = ("box", 4), [("raw", 2), ("scores", 1)] * 5
NETWORKS = {
    "detect": rows_network(BOX, ("scores", 16)),
    "pose": rows_network(BOX, ("scores", 1), *VISIBLE),
    "obb": rows_network(BOX, ("scores", 15), ("raw", 1)),
    "segment": rows_network(BOX, ("scores", 8), ("raw", 8), prototypes=8),
}
"""Four networks with an output 1 x 20 x 84 each."""


@pytest.mark.parametrize("task", NETWORKS)
def test_each_task_is_known_from_its_graph_alone(task):
    """Without metadata the same shape is read as four different things."""
    found = recognise(facts_of(NETWORKS[task]))
    assert found is not None
    assert found.task == task


@pytest.mark.parametrize("task", NETWORKS)
@pytest.mark.parametrize("told", [*NETWORKS, "classify"])
def test_a_file_that_contradicts_its_graph_is_not_read(task, told):
    """What the file says of its task holds, and is believed only where the graph agrees."""
    metadata = {"task": told, "kpt_shape": "[5, 3]"}
    found = recognise(facts_of(NETWORKS[task], metadata=metadata))
    assert (None if found is None else found.task) == (task if task == told else None)


@pytest.mark.parametrize("task", NETWORKS)
def test_names_of_other_classes_are_a_contradiction(task):
    """A file with as many names as there are classes is read, one with more is not."""
    found = recognise(facts_of(NETWORKS[task]))
    assert found is not None
    for more in (0, 1):
        names = repr([str(number) for number in range(found.classes + more)])
        again = recognise(facts_of(NETWORKS[task], metadata={"names": names}))
        assert again == (None if more else found)


def test_a_shape_alone_says_nothing():
    """56 rows may be 52 classes or a person with 17 keypoints: that is not guessed."""
    assert recognise(Facts({"o": (1, 56, 8400)}, 640, 640)) is None


@pytest.mark.parametrize("metadata", [{"end2end": "True"}, {"args": "{'nms': True}"}])
def test_a_file_that_selects_has_no_rows_of_candidates(metadata):
    """N x R x A with the cells in columns contradicts what the file says."""
    assert recognise(facts_of(NETWORKS["detect"], metadata=metadata)) is None


def test_selected_rows_with_prototypes_are_not_masks_of_300_rows():
    """1 x 300 x 84 behind a TopK is not taken for 84 cells, though 84 is their number."""
    facts = facts_of("""(float[1, 900, 84] x, float[1, 8, 16, 16] p)
      => (float[1, 300, 84] y, float[1, 8, 16, 16] z) <int64[1] k = {300}> {
        y, places = TopK<axis = 1>(x, k)  z = Identity(p)
    }""")
    assert recognise(facts) is None


def test_layouts():
    """Four numbers of the box, then classes, then what is behind them, one of three visible."""
    assert layout(2, behind=3, period=3).tolist() == [False] * 4 + [True] * 2 + [False] * 2 + [True]
    assert layout(2, behind=1).tolist() == [False] * 4 + [True] * 2 + [False]
    assert first_scores(layout(2, behind=3, period=3)) == 2
    assert first_scores(layout(0)) == 0
    assert columns({"o": np.zeros((2, 5, 7))}, "o").shape == (2, 7, 5)
