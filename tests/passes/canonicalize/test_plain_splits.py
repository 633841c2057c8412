"""Pieces of a tensor come straight from a Split."""

import numpy as np
import pytest

from passes import PlainSplits
from tests.passes.helpers import build_model, operator_types

PIECES = """(float[2,12] x) => (float[2,n] y, float[2,m] z) {
    s = SplitToSequence<axis = AXIS>(x, sizes)
    a = SequenceAt(s, first) b = SequenceAt(s, last) c = SequenceAt(s, first)
    y = Concat<axis = 1>(b, a) z = Neg(c)
}"""


@pytest.mark.parametrize("axis", ["1", "-1"])
@pytest.mark.parametrize(
    ("sizes", "ends"), [([3, 6, 3], [3, 9]), ([5, 7], [5]), (4, [4, 8]), (5, [5, 10])]
)
def test_exact(rng, run, sizes, ends, axis):
    """Pieces of given sizes, or of one size and what is left, read from either end."""
    text = PIECES.replace("AXIS", axis)
    arrays = {"sizes": np.array(sizes), "first": np.array(0), "last": np.array(-1)}
    model, x = build_model(text, **arrays), rng.normal(size=(2, 12)).astype(np.float32)
    pieces = np.split(x, ends, axis=1)
    assert PlainSplits()(model).modified
    assert set(operator_types(model)) == {"Split", "Identity", "Concat", "Neg"}
    found = run(model.clone(), x=x)
    np.testing.assert_array_equal(found["y"], np.concatenate([pieces[-1], pieces[0]], axis=1))
    np.testing.assert_array_equal(found["z"], -pieces[0])
    assert not PlainSplits()(model).modified


def test_a_piece_that_is_an_output_keeps_its_name(rng, run):
    """The file's outputs are those that it had."""
    model = build_model(
        """(float[2,6] x) => (float[2,2] y) {
            s = SplitToSequence<axis=1>(x, sizes) y = SequenceAt(s, i) }""",
        sizes=np.array([4, 2]),
        i=np.array(1),
    )
    x = rng.normal(size=(2, 6)).astype(np.float32)
    PlainSplits()(model)
    np.testing.assert_array_equal(run(model, x=x)["y"], x[:, 4:])


@pytest.mark.parametrize(
    ("text", "opset"),
    [
        (PIECES.replace("AXIS", "1").replace("(x, sizes)", "(x)"), 17),
        (PIECES.replace("AXIS", "1"), 12),
        (
            PIECES.replace("AXIS", "1").replace(
                "z = Neg(c)", "l = SequenceLength(s) f = Cast<to=1>(l) z = Add(c, f)"
            ),
            17,
        ),
    ],
)
def test_declined(text, opset):
    """Without sizes, in an older opset, and where anything else reads the sequence."""
    arrays = {"sizes": np.array([4, 8]), "first": np.array(0), "last": np.array(-1)}
    used = {name: array for name, array in arrays.items() if name in text.split("{", 1)[1]}
    model = build_model(text, opset=opset, **used)
    assert not PlainSplits()(model).modified
