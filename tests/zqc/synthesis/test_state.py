"""What a synthesis changes, and its way through a file."""

import io

import numpy as np
import pytest

from zqc.synthesis.objective import MOMENTS, STATE
from zqc.synthesis.state import State

SIZES = (3, 2, 2)
CANVAS = (1, 5, 4)
CHANNELS = 6


def noise(sizes=SIZES, seed=0):
    """A fresh state."""
    return State.start(
        np.random.default_rng(seed).random((sum(sizes), *CANVAS), dtype=np.float32), sizes, CHANNELS
    )


@pytest.fixture
def used(rng):
    """A state in the middle of a pass."""
    state = noise()
    for index in range(len(SIZES)):
        state.contribute(index, {name: rng.normal(size=CHANNELS).astype("f") for name in MOMENTS})
    state.iteration, state.position, state.losses = 7, 2, [3.5, 2.25, 0.1]
    return state


def pixels(state, name="pictures"):
    """All pictures of a state."""
    return np.concatenate([batch[name].numpy() for batch in state.batches])


def test_a_start_has_no_optimizer_moments():
    """The pictures are as given; the second moment is one number a picture."""
    state = noise()
    assert pixels(state, "first_moment").shape == pixels(state).shape
    assert pixels(state, "second_moment").shape == (sum(SIZES), 1, 1, 1)
    assert not any(pixels(state, name).any() for name in STATE[1:])
    assert (state.iteration, state.position, state.losses) == (0, 0, [])


def test_noise_does_not_depend_on_the_batches():
    """The same generator gives the same pictures in batches of any size, and no two alike."""
    whole = pixels(noise((7,)))
    for sizes in (SIZES, (1,) * 7):
        np.testing.assert_array_equal(pixels(noise(sizes)), whole)
    assert len(np.unique(whole.reshape(7, -1), axis=0)) == 7
    assert not np.array_equal(pixels(noise(seed=1)), whole)


def test_pooled_moments_are_the_sum_of_the_contributions(rng):
    """Batch by batch, and a later contribution takes the place of the earlier one."""
    state = noise()
    parts = rng.normal(size=(2, len(SIZES), CHANNELS)).astype(np.float32)
    for index in (0, 1, 2, 1):
        feeds = dict(zip(MOMENTS, parts[:, index] * (index + 1), strict=True))
        state.contribute(index, feeds | {"loss": np.float32(1)})
    weights = np.array([1, 2, 3]).reshape(3, 1)
    for got, part in zip(state.pooled(), parts, strict=True):
        np.testing.assert_allclose(got, (weights * part.astype(float)).sum(axis=0), rtol=1e-6)


def test_a_state_survives_a_file(used):
    """Through ``numpy.savez`` and back, every array, counter and loss is the same."""
    file = io.BytesIO()
    np.savez(file, **used.to_arrays())
    file.seek(0)
    with np.load(file) as arrays:
        again = State.from_arrays(dict(arrays), SIZES)
    assert [batch["pictures"].shape()[0] for batch in again.batches] == list(SIZES)
    for name in STATE:
        assert pixels(again, name).tobytes() == pixels(used, name).tobytes()
    for name in MOMENTS:
        assert again.moments[name].dtype == np.float64
        np.testing.assert_array_equal(again.moments[name], used.moments[name])
    assert (again.iteration, again.position) == (7, 2)
    assert again.losses == used.losses


def test_the_end_leaves_the_pictures(used):
    """What only further steps need is let go; pictures, moments and losses stay."""
    before, moments = pixels(used), used.pooled()
    used.end()
    assert [list(batch) for batch in used.batches] == [["pictures"]] * len(SIZES)
    np.testing.assert_array_equal(pixels(used), before)
    np.testing.assert_array_equal(used.pooled(), moments)
    assert used.losses == [3.5, 2.25, 0.1]
