"""What exporters compute from the batch size becomes constant, and only that."""

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from passes.canonicalize.fold_batch_size import FoldBatchSize

# x.view(source.shape[0], <rest>), as PyTorch exports it.
VIEW = """
    sizes = Shape({source})
    size = Gather<axis=0>(sizes, zero)
    first = Unsqueeze(size, axes)
"""
NUMBERS = {
    "zero": np.int64(0),
    "axes": np.array([0]),
    "rest": np.array([-1]),
    "four": np.array([4]),
    "nine": np.array([9]),
    "sixteen": np.array([16]),
    "twice": np.array([1, 1, 2, 2], np.float32),
}


def fold(model):
    """Infer shapes and fold until nothing changes, and count how often."""
    rounds = 0
    while True:
        ShapeInferencePass(strict_mode=False, check_type=False)(model)
        if not FoldBatchSize()(model).modified:
            return rounds
        RemoveUnusedNodesPass()(model)
        rounds += 1


def check(build, run, operators, rng, text, expected, **arrays):
    """Fold a graph, compare operators, and compare values at two batch sizes exactly."""
    used = {name: array for name, array in {**NUMBERS, **arrays}.items() if name in text}
    model, reference = build(text, **used), build(text, **used)
    fold(model)
    assert operators(model) == expected
    for batch in (1, 3):
        x = rng.normal(size=(batch, 4, 4, 4)).astype(np.float32)
        for name, value in run(reference, x=x).items():
            np.testing.assert_array_equal(run(model, x=x)[name], value)
    return model


@pytest.mark.parametrize("source", ["x", "t"])
def test_reshape_with_open_rest(build, run, operators, rng, source):
    """Case 4: view(batch, −1, 4) becomes [0, −1, 4], and the rest gets its size."""
    text = f"""(float[N,4,4,4] x) => (float[N,M,4] y) {{
        t = Transpose<perm=[0,2,3,1]>(x)
        {VIEW.format(source=source)}
        target = Concat<axis=0>(first, rest, four)
        y = Reshape(t, target)
    }}"""
    model = check(build, run, operators, rng, text, ["Transpose", "Reshape"])
    assert model.graph.node(1).inputs[1].const_value.numpy().tolist() == [0, -1, 4]


def test_reshape_with_positive_rest(build, run, operators, rng):
    """Case 3: view(batch, 4, 16) becomes [−1, 4, 16], wherever the number comes from."""
    text = f"""(float[N,4,4,4] x) => (float[N,4,16] y) {{
        {VIEW.format(source="x")}
        target = Concat<axis=0>(first, four, sixteen)
        y = Reshape(x, target)
    }}"""
    model = check(build, run, operators, rng, text, ["Reshape"])
    assert model.graph.node(0).inputs[1].const_value.numpy().tolist() == [-1, 4, 16]


def test_reshape_behind_resizes(build, run, operators, rng):
    """Case 1: the name of the batch survives Resizes, so that what stands behind them folds."""
    text = f"""(float[N,4,4,4] x) => (float[N,M,4] y) {{
        large = Resize<mode="nearest">(x, , twice)
        mixed = Relu(large)
        larger = Resize<mode="nearest">(mixed, , twice)
        {VIEW.format(source="x")}
        target = Concat<axis=0>(first, rest, four)
        y = Reshape(larger, target)
    }}"""
    model = check(build, run, operators, rng, text, ["Resize", "Relu", "Resize", "Reshape"])
    assert model.graph.outputs[0].producer().inputs[0].shape == ["N", 4, 16, 16]


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_to_computed_sizes(build, run, operators, rng, mode):
    """Case 2: sizes that begin with the batch size become scales."""
    text = f"""(float[N,4,4,4] x) => (float[N,4,H,W] y) {{
        sizes = Shape(x)
        leading = Slice(sizes, axes, two, axes)
        target = Concat<axis=0>(leading, new)
        y = Resize<mode="{mode}">(x, , , target)
    }}"""
    arrays = {"two": np.array([2]), "new": np.array([10, 4])}
    model = check(build, run, operators, rng, text, ["Resize"], **arrays)
    assert model.graph.node(0).inputs[2].const_value.numpy().tolist() == [1, 1, 2.5, 1]


DECLINED = {
    "a ratio that float32 does not hold": (
        """sizes = Shape(x)
        leading = Slice(sizes, axes, two, axes)
        target = Concat<axis=0>(leading, new)
        y = Resize<mode="nearest">(x, , , target)""",
        {"two": np.array([2]), "new": np.array([5, 7])},
    ),
    "not the batch in front": (
        """sizes = Shape(x)
        size = Gather<axis=0>(sizes, one)
        first = Unsqueeze(size, axes)
        target = Concat<axis=0>(first, rest, four)
        y = Reshape(x, target)""",
        {"one": np.int64(1)},
    ),
    "another tensor without the batch on axis 0": (
        f"""t = Transpose<perm=[1,0,2,3]>(x)
        {VIEW.format(source="x")}
        target = Concat<axis=0>(first, rest, four)
        y = Reshape(t, target)""",
        {},
    ),
    "two open numbers": (
        f"""{VIEW.format(source="x")}
        target = Concat<axis=0>(first, first, rest)
        y = Reshape(x, target)""",
        {},
    ),
    "a zero among the constants": (
        f"""{VIEW.format(source="x")}
        target = Concat<axis=0>(first, axes, nine)
        y = Reshape(x, target)""",
        {},
    ),
    "allowzero": (
        f"""{VIEW.format(source="x")}
        target = Concat<axis=0>(first, four, nine)
        y = Reshape<allowzero=1>(x, target)""",
        {},
    ),
    "a Resize along the batch": (
        """y = Resize<mode="nearest">(x, , stretched)""",
        {"stretched": np.array([2, 1, 1, 1], np.float32)},
    ),
}


@pytest.mark.parametrize(("body", "arrays"), DECLINED.values(), ids=DECLINED)
def test_declined(build, operators, body, arrays):
    """What is not provably the same stays as it is."""
    rank = "A,B,C" if "Reshape" in body else "A,B,C,D"
    used = {name: array for name, array in {**NUMBERS, **arrays}.items() if name in body}
    model = build(f"(float[N,4,3,3] x) => (float[{rank}] y) {{ {body} }}", **used)
    before = operators(model)
    fold(model)
    assert operators(model) == before


def test_fixed_batch(build, operators):
    """Where the batch is fixed there is nothing to do."""
    text = f"""(float[2,4,4,4] x) => (float[2,M,4] y) {{
        {VIEW.format(source="x")}
        target = Concat<axis=0>(first, rest, four)
        y = Reshape(x, target)
    }}"""
    used = {name: array for name, array in NUMBERS.items() if name in text}
    model = build(text, **used)
    assert fold(model) == 0
