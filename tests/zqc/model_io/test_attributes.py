"""Attributes and the numbers of inputs and outputs are those of the operator."""

import re

import pytest
from onnx import helper

from zqc.errors import ModelError
from zqc.model_io.attributes import check_node


def check(kind, inputs=("x", "w"), outputs=("y",), opset=13, domain="", **attributes):
    """Check a node."""
    node = helper.make_node(kind, list(inputs), list(outputs), domain=domain, **attributes)
    check_node(node, f"the {kind}", opset)


FAULTS = {
    "the group of the Conv has the type INTS, but must be INT": {"group": [1]},
    "has the attribute 'grop', which Conv of opset 11 does not have": {"grop": 1},
    "has the strides [0, 1], which must be 1 at least": {"strides": [0, 1]},
    "has the dilations [1, -2]": {"dilations": [1, -2]},
    "has the kernel_shape [3, 4294967296]": {"kernel_shape": [3, 2**32]},
    "has the group 0": {"group": 0},
    "has the pads [0, -1, 0, 0], which must be 0 at least": {"pads": [0, -1, 0, 0]},
    "kernel_shape, pads of the Conv are for different": {"kernel_shape": [3], "pads": [1] * 4},
    "the auto_pad of the Conv is 'SAME', but must be one of NOTSET": {"auto_pad": "SAME"},
}


@pytest.mark.parametrize("words", FAULTS)
def test_attributes_of_a_convolution(words):
    """What no Conv can have is told with the attribute and its value."""
    check("Conv", strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3], group=1)
    with pytest.raises(ModelError, match=re.escape(words)):
        check("Conv", **FAULTS[words])


def test_numbers_of_inputs_and_outputs():
    """Too few, too many, or left out where it must be there."""
    for inputs, words in (
        (["x"], "has 1 inputs, but takes 2 to 3"),
        (["x", "w", "b", "c"], "has 4 inputs, but takes 2 to 3"),
        (["x", ""], "lacks its input 'W'"),
    ):
        with pytest.raises(ModelError, match=words):
            check("Conv", inputs)
    with pytest.raises(ModelError, match="has 2 outputs, but takes 1"):
        check("Conv", outputs=["y", "z"])
    with pytest.raises(ModelError, match="lacks the attribute 'axis'"):
        check("Concat")


def test_no_number():
    """NaN is the value of no attribute."""
    with pytest.raises(ModelError, match="the alpha of the LeakyRelu is NaN"):
        check("LeakyRelu", ["x"], alpha=float("nan"))


def test_operators_of_others():
    """Of an operator that onnx does not know, nothing is asked."""
    check("Fancy", [], ["y"], opset=1, domain="somebody", wings=2)
    check("NoSuchOperator", ["x"], speed=[1.0])
