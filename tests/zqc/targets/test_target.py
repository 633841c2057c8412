"""What a target refuses, and what it says of constants."""

import pytest

from zqc import targets
from zqc.errors import OptionError
from zqc.recipe.recipe import Recipe


@pytest.mark.parametrize("option", ["act_bits", "first_last_bits"])
def test_bits_that_a_target_lacks_are_refused(zqc, option):
    """The error names the target, the option and what is possible."""
    flag = f"--{option.replace('_', '-')}"
    with pytest.raises(OptionError, match=f"tensorrt has no activations of 4 bits; say {flag} 8"):
        targets.find("tensorrt").check(Recipe(**{option: 4}))
    code, _, err = zqc("compile", "x.onnx", "--target", "qnn", flag, "4", "--dry-run")
    assert code == 1
    assert "the target qnn has no activations of 4 bits" in err
    targets.find("ort-x86").check(Recipe(**{option: 4}))


def test_integer_kernels_cannot_be_required_elsewhere():
    """What ONNX Runtime fuses says nothing about another engine."""
    with pytest.raises(OptionError, match="target openvino runs elsewhere; leave it out, or say"):
        targets.find("openvino").check(Recipe(require_integer=True))
    targets.find("ort-arm").check(Recipe(require_integer=True))


@pytest.mark.parametrize(
    ("name", "constants"),
    [("ort-x86", "any grid"), ("vitisai", "signed grid"), ("tensorrt", "float")],
)
def test_constants_follow_the_grids(name, constants):
    """Any grid, a signed one where there is no other, none where only layer inputs have one."""
    assert targets.find(name).constants == constants
