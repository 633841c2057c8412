"""Operators that do nothing at inference go."""

import numpy as np
import pytest

from passes import DropIdle

GONE = {
    "Dropout": ("d = Dropout(x)", 13),
    "with a ratio": ("d = Dropout(x, half)", 13),
    "said not to train": ("d = Dropout(x, half, no)", 13),
    "with a mask that nobody reads": ("d, m = Dropout(x, half, no)", 13),
    "of opset 10": ("d = Dropout<ratio=0.3>(x)", 10),
    "Cast to the same type": ("d = Cast<to=1>(x)", 13),
    "CastLike": ("d = CastLike(x, w)", 19),
    "a chain": ("a = Dropout(x) b = CastLike(a, x) d = Cast<to=1>(b)", 19),
}
CONSTANTS = {
    "half": 0.5,
    "no": np.array(False),
    "yes": np.array(True),
    "w": np.zeros(2, np.float32),
}


def model_of(build, body, opset, outputs=""):
    """What reads ``d``, and the constants that the body reads."""
    arrays = {key: value for key, value in CONSTANTS.items() if f", {key}" in body}
    graph = f"(float[2,3] x) => (float[2,3] y {outputs}) {{ {body} y = Neg(d) }}"
    return build(graph, opset=opset, **arrays)


@pytest.mark.parametrize(("body", "opset"), GONE.values(), ids=GONE.keys())
def test_what_does_nothing_goes(build, operators, run, rng, body, opset):
    """The reader reads what went in, and nothing changes."""
    model = model_of(build, body, opset)
    x = rng.normal(size=(2, 3)).astype(np.float32)
    before = run(model, x=x)["y"]
    assert DropIdle()(model).modified
    assert operators(model) == ["Neg"]
    np.testing.assert_array_equal(run(model, x=x)["y"], before)
    assert not DropIdle()(model).modified


STAYS = {
    "training": ("d = Dropout(x, half, yes)", ""),
    "a mask that is read": ("d, m = Dropout(x, half, no)", ", bool[2,3] m"),
    "another type": ("i = Cast<to=7>(x) d = Cast<to=1>(i)", ""),
    "random numbers": ("d = RandomNormalLike(x)", ""),
}


@pytest.mark.parametrize(("body", "outputs"), STAYS.values(), ids=STAYS.keys())
def test_what_does_something_stays(build, operators, body, outputs):
    """Each of the declined cases."""
    model = model_of(build, body, 19, outputs)
    before = operators(model)
    assert not DropIdle()(model).modified
    assert operators(model) == before


def test_a_type_that_is_known_is_written(build, operators, run):
    """CastLike of another type becomes Cast to it: nothing then waits for a tensor."""
    model = build(
        "(float[3] x) => (int64[3] y) { y = CastLike(x, like) }", opset=19, like=np.array([7])
    )
    assert DropIdle()(model).modified
    assert operators(model) == ["Cast"]
    assert run(model, x=np.float32([1.5, -2, 3]))["y"].tolist() == [1, -2, 3]


def test_an_output_keeps_its_name(build, operators):
    """What the model gives back keeps its name, though it is computed by nothing."""
    model = build("(float[3] x) => (float[3] y) { y = Dropout(x) }", opset=13)
    assert DropIdle()(model).modified
    assert operators(model) == ["Identity"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert not DropIdle()(model).modified
