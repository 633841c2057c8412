"""What a target refuses, and what it says of constants."""

import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from tests.passes.helpers import build_model
from zqc import targets
from zqc.targets import Target


@pytest.mark.parametrize(
    ("name", "constants"),
    [("ort-x86", "any grid"), ("vitisai", "signed grid"), ("tensorrt", "float")],
)
def test_constants_follow_the_grids(name, constants):
    """Any grid, a signed one where there is no other, none where only layer inputs have one."""
    assert targets.find(name).constants == constants


def test_lowering_changes_no_model():
    """The canonical model stays as it is; the passes may depend on the oldest runtime."""
    asked = []

    def lowering(min_runtime):
        asked.append(min_runtime)
        return (RemoveUnusedNodesPass(),)

    target = Target(name="t", summary="", guarantees=(), lowering=lowering)
    model = build_model("(float[1] x) => (float[1] y) { z = Neg(x) y = Abs(x) }")
    assert [node.op_type for node in target.lower(model, "1.16").graph] == ["Abs"]
    assert [node.op_type for node in model.graph] == ["Neg", "Abs"]
    assert asked == ["1.16"]
