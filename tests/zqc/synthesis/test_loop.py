"""The loop around the step: batches, pooling over the whole set, and what joint is worth."""

import numpy as np
import pytest

from passes.graph import with_outputs
from tests.passes.helpers import run_model
from tests.zqc.synthesis.small_nets import PICTURE, made, net, per_picture, pointwise
from zqc.pictures.input_format import InputFormat
from zqc.pictures.structured_noise import structured_noise
from zqc.runtime import session
from zqc.statistics.batchnorm import harvest
from zqc.synthesis.loop import Loop, Schedule, first_pictures
from zqc.synthesis.objective import Objective


def loop_of(model, schedule, objective=None):
    """A loop on one thread."""
    return Loop.of(
        model, harvest(model), PICTURE, InputFormat(), schedule, objective or Objective(), 1
    )


def layer_values(model, tensors):
    """What the unfolded model computes from tensors for each layer, in float64."""
    names = [layer.output for layer in harvest(model)]
    outputs = run_model(with_outputs(model, names), x=tensors)
    return [outputs[name].astype(np.float64) for name in names]


def set_loss(model, tensors):
    """The loss of a set of pictures, by numpy, from the unfolded model."""
    terms = []
    for layer, values in zip(harvest(model), layer_values(model, tensors), strict=True):
        mean, deviation = values.mean((0, 2, 3)), values.std((0, 2, 3))
        off = ((mean - layer.mean) / layer.unit) ** 2
        terms.append(np.mean(off + ((deviation - layer.deviation) / layer.unit) ** 2))
    return np.mean(terms)


@pytest.mark.parametrize("samples", [1, 2, 7, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("batch", [1, 3, 8, 32])
def test_batches_are_even(samples, batch):
    """All pictures are made, in as few batches as can be, which differ by one at most."""
    sizes = Schedule(samples, 1, batch=batch).sizes
    assert sum(sizes) == samples
    assert len(sizes) == -(-samples // batch)
    assert 1 <= min(sizes) <= max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("samples", "margin"), [(1, 0), (10, 0), (10, 3)])
def test_pooled_moments_are_those_of_all_pictures_in_batches_of_any_size(rng, samples, margin):
    """Batches of any size pool to numpy's moments over the whole set and to one batch's (1e-5)."""
    model = net(rng)
    found = []
    for batch in (10, 4, 1):
        loop = loop_of(model, Schedule(samples, 1, batch=batch), Objective(margin=margin))
        state = loop.start()
        tensors = np.concatenate(list(loop.measure(state)))
        found.append((np.stack(state.pooled()), tensors, state.losses[0]))
    values = layer_values(model, found[0][1])
    exact = np.stack(
        [np.concatenate([(v**power).mean((0, 2, 3)) for v in values]) for power in (1, 2)]
    )
    for moments, tensors, loss in found:
        np.testing.assert_allclose(tensors, found[0][1], atol=1e-6)
        for reference in (exact, found[0][0]):
            assert np.abs(moments - reference).max() <= 1e-5 * np.abs(reference).max()
        assert loss == pytest.approx(set_loss(model, tensors), rel=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_moments_stay_those_of_the_pictures_after_every_step(rng, batch):
    """After a pass, the pooled moments are what measuring all finished pictures gives (1e-6)."""
    loop = loop_of(net(rng), Schedule(7, 5, batch=batch), Objective(margin=3))
    state = loop.start()
    for _ in range(3):
        before = np.stack(state.pooled())
        assert loop.advance(state)
        stored = np.stack(state.pooled())
        assert [len(part) for part in loop.measure(state)] == loop.schedule.sizes
        np.testing.assert_allclose(stored, np.stack(state.pooled()), rtol=1e-6, atol=1e-7)
        assert np.abs(stored - before).max() > 1e-3
        assert state.losses[-1] == pytest.approx(loop.targets.loss(*stored), rel=1e-12)
    assert (state.iteration, state.position, len(state.losses)) == (3, 0, 4)


def test_gaps_are_root_mean_squares_of_the_residuals(rng):
    """Layer by layer, of mean and deviation, from the unfolded model's values (1e-4)."""
    model = net(rng)
    loop = loop_of(model, Schedule(6, 4, batch=2))
    state = loop.start()
    loop.advance(state)
    values = layer_values(model, np.concatenate(list(loop.measure(state))))
    gaps = loop.gaps(state)
    assert [gap.layer for gap in gaps] == ["n1", "n2"]
    for gap, layer, value in zip(gaps, harvest(model), values, strict=True):
        mean, deviation = value.mean((0, 2, 3)), value.std((0, 2, 3))
        for found, got, goal in (
            (gap.mean, mean, layer.mean),
            (gap.deviation, deviation, layer.deviation),
        ):
            expected = np.sqrt(np.mean(((got - goal) / layer.unit) ** 2))
            assert found == pytest.approx(expected, rel=1e-4)


def test_joint_optimisation_beats_that_of_single_batches(rng):
    """Over the whole set the loss is three times lower, for the same pictures and steps.

    Each picture has one value per channel here, so that no batch of one has a deviation.
    """
    model = per_picture(rng)
    noise = {"start": "gaussian", "rate": 0.1, "batch": 1}
    joint, single = (
        made(model, samples=8, steps=50, joint=kind, **noise) for kind in (True, False)
    )
    assert joint.first_loss == single.first_loss
    ends = [set_loss(model, result.tensors) for result in (joint, single)]
    assert ends[0] < ends[1] / 3
    for result, end in zip((joint, single), ends, strict=True):
        assert result.last_loss == pytest.approx(end, rel=1e-3)


def test_batches_of_the_whole_set_are_joint_anyway(rng):
    """With one batch there is nothing to pool, and both ways are the same to the last bit."""
    model = net(rng)
    joint, single = (made(model, batch=4, steps=5, joint=kind) for kind in (True, False))
    assert joint.tensors.tobytes() == single.tensors.tobytes()
    assert joint.losses == single.losses


@pytest.mark.parametrize(
    "joint",
    [
        True,
        pytest.param(
            False,
        ),
    ],
)
def test_without_refresh_the_moments_are_those_before_the_step(rng, joint):
    """A step too short to see leaves the loss of the set as it was (1e-4).

    A 1×1 Conv cannot tell a mirrored picture.
    """
    result = made(
        pointwise(rng), samples=6, batch=2, steps=1, rate=1e-9, refresh=False, joint=joint
    )
    assert result.last_loss == pytest.approx(result.first_loss, rel=1e-4)


def told_to_steps(monkeypatch, model, **options):
    """What the host feeds to each step, in order, on one thread."""
    keeping, told = session.Runner.keeping, []

    def listening(self, kept, feeds, keep):
        told.extend([feeds] * ("step_size" in feeds))
        return keeping(self, kept, feeds, keep)

    monkeypatch.setattr(session.Runner, "keeping", listening)
    made(model, **options)
    return told


def test_every_picture_gets_another_window_in_every_pass(rng, monkeypatch):
    """Of 5 × 5 windows and two sides, no two batches or passes get the same row of them."""
    told = told_to_steps(
        monkeypatch, net(rng), samples=12, batch=3, steps=6, objective=Objective(margin=4)
    )
    drawn = [feeds["pads"].tobytes() + feeds["steps"].tobytes() for feeds in told]
    assert len(drawn) == len(set(drawn)) == 4 * 6
    assert {len(np.unique(feeds["pads"], axis=0)) for feeds in told} <= {2, 3}


def test_the_rate_falls_along_half_a_cosine(rng, monkeypatch):
    """From the rate to 0 over the passes, with Adam's corrections for the first steps (1e-6)."""
    told = told_to_steps(monkeypatch, net(rng), samples=1, steps=8, rate=0.3)
    assert len(told) == 8
    for index, feeds in enumerate(told):
        rate = 0.15 * (1 + np.cos(np.pi * index / 8))
        assert feeds["step_size"] == pytest.approx(rate / (1 - 0.9 ** (index + 1)), rel=1e-6)
        assert feeds["second_correction"] == pytest.approx(1 / (1 - 0.999 ** (index + 1)), rel=1e-5)


def test_gaussian_pictures_are_around_grey_and_in_range():
    """Of deviation 0.25 (3 %), clipped to black and white, and others for another seed."""
    values = first_pictures(Schedule(64, 1, start="gaussian"), (3, 32, 32))
    assert values.dtype == np.float32
    assert values.shape == (64, 3, 32, 32)
    assert (values.min(), values.max()) == (0, 1)
    assert values.mean() == pytest.approx(0.5, abs=0.005)
    # Of a Gaussian that is cut at two deviations: 0.9194 × 0.25, the tails put on the cuts.
    inside = values[(values > 0) & (values < 1)]
    assert inside.std() == pytest.approx(0.25 * 0.8796, rel=0.03)
    other = first_pictures(Schedule(64, 1, start="gaussian", seed=1), (3, 32, 32))
    assert not np.array_equal(values, other)


def test_the_start_is_structured_noise_of_the_seed():
    """Canvases are those of ``structured_noise``, whatever the batches."""
    for batch in (1, 2, 5):
        values = first_pictures(Schedule(5, 1, batch=batch, seed=3), (3, 24, 16))
        np.testing.assert_array_equal(values, structured_noise(5, (3, 24, 16), 3))
