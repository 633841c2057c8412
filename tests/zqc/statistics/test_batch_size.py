"""Whether a network may be run with any number of pictures is tried, not guessed."""

import numpy as np
import pytest

from tests.passes.helpers import build_model
from zqc.errors import RuntimeFailure
from zqc.statistics.batch_size import own_batch, takes_any_batch

PICTURE = (3, 8, 8)

ANY = {
    "free": "(float[N,3,8,8] x) => (float[a,b,c,d] y) { y = Relu(x) }",
    "one": "(float[1,3,8,8] x) => (float[a,b,c,d] y) { y = Relu(x) }",
    "two": "(float[2,3,8,8] x) => (float[a,b,c,d] y) { y = Relu(x) }",
    "four": "(float[4,3,8,8] x) => (float[a,b,c,d] y) { y = Relu(x) }",
    "a Reshape names the batch": """(float[1,3,8,8] x) => (float[a,b,c] y) {
        y = Reshape(x, flat)
    }""",
    "windows along axis 0": """(float[1,3,8,8] x) => (float[a,b,c,d] y) {
        cut = Reshape(x, cut_shape)
        moved = Transpose<perm=[0,2,4,1,3,5]>(cut)
        y = Reshape(moved, windows)
    }""",
}

OWN = {
    "a Resize of one picture, which mixes two": """(float[1,3,8,8] x) => (float[a,b,c,d] y) {
        small = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
        wide = Resize<mode="linear">(small, , , sizes)
        y = Add(wide, x)
    }""",
    "a constant for each of two pictures": """(float[2,3,8,8] x) => (float[a,b,c,d] y) {
        y = Concat<axis=1>(x, pair)
    }""",
    "the batch squeezed away": """(float[1,3,8,8] x) => (float[a,b,c,d] y) {
        one = Squeeze(x, first)
        y = Unsqueeze(one, first)
    }""",
    "a mean over the batch": """(float[2,3,8,8] x) => (float[a,b,c,d] y) {
        mean = ReduceMean<axes=[0]>(x)
        y = Sub(x, mean)
    }""",
    "free, but mixed inside": """(float[N,3,8,8] x) => (float[a,b,c,d] y) {
        mean = ReduceMean<axes=[0]>(x)
        y = Sub(x, mean)
    }""",
}


def built(text):
    """The graph with all constants that any of them names."""
    return build_model(
        text,
        opset=17,
        flat=np.array([1, 3, 64]),
        cut_shape=np.array([1, 3, 2, 4, 2, 4]),
        windows=np.array([-1, 3, 4, 4]),
        sizes=np.array([1, 3, 8, 8]),
        pair=np.ones((2, 1, 8, 8), np.float32),
        first=np.array([0]),
    )


@pytest.mark.parametrize("text", ANY.values(), ids=ANY)
def test_pictures_that_stay_apart_may_be_any_number(text):
    """Also where the file names a batch that a Reshape alone repeats."""
    assert takes_any_batch(built(text), ["y"], PICTURE)


@pytest.mark.parametrize("text", OWN.values(), ids=OWN)
def test_what_fails_or_mixes_pictures_keeps_its_own_number(text):
    """Both are found by running it: a Resize to the sizes of one picture blends two in silence."""
    assert not takes_any_batch(built(text), ["y"], PICTURE)


def test_only_what_is_wanted_counts():
    """Behind the wanted values anything may happen to the batch."""
    model = built(OWN["a Resize of one picture, which mixes two"])
    assert takes_any_batch(model, ["small"], PICTURE)


def test_the_own_batch_is_that_of_the_input():
    """One, where the file leaves it open."""
    assert [own_batch(built(ANY[name])) for name in ("free", "one", "four")] == [1, 1, 4]


def test_a_model_that_does_not_run_at_all_is_an_error():
    """It is no question of the batch then."""
    model = built("(float[1,3,8,8] x) => (float[a] y) { y = Reshape(x, sizes) }")
    model.graph.inputs[0].shape = None
    model.graph.initializers["sizes"].const_value = None
    with pytest.raises(RuntimeFailure):
        takes_any_batch(model, ["y"], PICTURE)
