"""Box offsets and logits of one head do not share a step."""

import numpy as np
import onnx_ir as ir

from tests.calibration import GivenBatches, plan_of
from tests.passes.helpers import build_model, run_model
from zqc.quantization.scale_outputs import scale_outputs
from zqc.recipe.recipe import Recipe

HEAD = """(float[1,3,8,8] x) => (float[n,c,h,w] raw, float[n,d,h,w] scores) {
    raw = Conv(x, w)
    logits = Conv(x, v)
    scores = Sigmoid(logits)
}"""


def network(rng):
    """A raw head, whose third channel is 100 times as wide, and logits behind a sigmoid."""
    w = rng.normal(size=(3, 3, 1, 1)) * np.array([1, 1, 100]).reshape(3, 1, 1, 1)
    v = rng.normal(size=(2, 3, 1, 1)) * np.array([1, 100]).reshape(2, 1, 1, 1)
    return build_model(HEAD, w=w.astype(np.float32), v=v.astype(np.float32))


def test_raw_heads_are_scaled_and_squashed_ones_are_not(rng):
    """One product, behind the raw head; the outputs are what they were, bit for bit."""
    model = network(rng)
    x = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    scaled = scale_outputs(model, plan_of(), GivenBatches(x))
    assert isinstance(scaled, ir.Model)
    assert [node.op_type for node in scaled.graph].count("Mul") == 1
    before, after = run_model(model, x=x), run_model(scaled, x=x)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    inner = {o.name: o for node in scaled.graph for o in node.outputs}["raw_scaled"]
    assert inner.producer().op_type == "Conv"


def test_only_if_the_recipe_asks(rng):
    """Without channel_outputs the model is handed back as it came."""
    model = network(rng)
    recipe = Recipe(channel_outputs=False)
    assert scale_outputs(model, plan_of(recipe), GivenBatches()) is model
