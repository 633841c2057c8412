"""How boxes are written, found by running the graph with nothing in its last layers."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import Builder, decoded, facts_of
from zqc.detection.conventions.probe import BoxFormat, box_format

XYXY, YXYX = (0, 1, 2, 3), (1, 0, 3, 2)


@pytest.mark.parametrize("columns", [XYXY, YXYX], ids=["x first", "y first"])
@pytest.mark.parametrize("centred", [False, True], ids=["corners", "centre"])
@pytest.mark.parametrize("relative", [False, True], ids=["pixels", "relative"])
@pytest.mark.parametrize("per_cell", [1, 3])
def test_formats_are_told_apart(columns, centred, relative, per_cell):
    """Every combination, of one box in each cell and of several anchors."""
    model = decoded(columns=columns, centred=centred, relative=relative, per_cell=per_cell)
    found = box_format(facts_of(model), "boxes")
    assert found == BoxFormat(columns, centred, relative, per_cell)


def test_a_product_of_four_by_four_is_part_of_the_decoding():
    """As where centres become corners by a matrix."""
    turn = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
    model = decoded(centred=True, matrix=turn)
    assert box_format(facts_of(model), "boxes") == BoxFormat(XYXY, False, False, 1)


def test_what_fills_no_picture_is_no_box():
    """Codes relative to anchors, boxes of twice the picture, and a graph that is not there."""
    net = Builder()
    net.shaped("flat", net.conv("codes", net.grid(8), 4), 1, 4, 256)
    net.add("boxes = Transpose<perm=[0,2,1]>(flat)")
    net.output("boxes")
    assert box_format(facts_of(net.model()), "boxes") is None
    assert box_format(facts_of(decoded(scale=2.0)), "boxes") is None
    assert box_format(facts_of(decoded(scale=0.3)), "boxes") is None


def test_the_graph_is_left_as_it_is():
    """It is copied before its layers are silenced."""
    model = decoded()
    before = [node.op_type for node in model.graph]
    box_format(facts_of(model), "boxes")
    assert [node.op_type for node in model.graph] == before
