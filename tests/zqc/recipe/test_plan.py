"""What follows from a recipe before anything is computed."""

import pytest

from zqc import targets
from zqc.errors import OptionError
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe


def test_a_plan_knows_its_target():
    """Found once, with what stays float added later."""
    plan = Plan.of(Recipe(target="ort-arm"), threads=2)
    assert plan.target is targets.find("ort-arm")
    assert (plan.excluded, plan.threads) == (frozenset(), 2)
    assert plan.excluding(["a", "b"]).excluded == {"a", "b"}


@pytest.mark.parametrize("option", ["act_bits", "first_last_bits"])
def test_bits_that_a_target_lacks_are_refused(zqc, option):
    """The error names the target, the option and what is possible."""
    flag = f"--{option.replace('_', '-')}"
    with pytest.raises(OptionError, match=f"tensorrt has no activations of 4 bits; say {flag} 8"):
        Plan.of(Recipe(target="tensorrt", **{option: 4}))
    code, _, err = zqc("compile", "x.onnx", "--target", "qnn", flag, "4", "--dry-run")
    assert code == 1
    assert "the target qnn has no activations of 4 bits" in err
    Plan.of(Recipe(**{option: 4}))
