"""The loop of the synthesis: what it gives back, and how it fails."""

import numpy as np
import pytest

from tests.passes.helpers import build_model, run_model
from zqc.calibration.ranges import with_outputs
from zqc.errors import RuntimeFailure, UnsupportedOperatorError
from zqc.input_format import InputFormat
from zqc.progress import Silent
from zqc.synthesis import Schedule, generate, harvest, synthesize

PICTURE = (3, 16, 12)
NET = """(float[N,3,16,12] x) => (float[a,b,c,d] y) {
    c1 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1)
    n1 = BatchNormalization<epsilon=0.001>(c1, g1, b1, m1, v1)
    r1 = Relu(n1)
    c2 = Conv(r1, w2)
    y = BatchNormalization<epsilon=0.001>(c2, g2, b2, m2, v2)
}"""
POINTWISE = """(float[N,3,16,12] x) => (float[a,b,c,d] y) {
    c1 = Conv(x, w1)
    y = BatchNormalization<epsilon=0.001>(c1, g1, b1, m1, v1)
}"""


def parameters(rng):
    """A first layer of six channels and a second of four, trained on pictures that exist."""
    arrays = {"w1": rng.normal(0, 0.4, (6, 3, 3, 3)), "w2": rng.normal(0, 0.4, (4, 6, 1, 1))}
    for index, count in ((1, 6), (2, 4)):
        arrays[f"g{index}"] = rng.uniform(0.5, 1.5, count)
        arrays[f"b{index}"] = rng.normal(0, 0.5, count)
        arrays[f"m{index}"] = rng.normal(0, 0.2, count)
        arrays[f"v{index}"] = rng.uniform(0.1, 0.5, count)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def net(rng, **changes):
    """Two layers of a Conv and a BatchNorm."""
    return build_model(NET, opset=17, **(parameters(rng) | changes))


def pointwise(rng):
    """One layer, to which a mirrored picture is the same, whose statistics pictures can have."""
    weight = rng.normal(0, 0.4, (4, 3, 1, 1)).astype(np.float32)
    # Statistics of smooth pictures: a random one of few pixels, enlarged.
    smooth = rng.uniform(0, 1, (4, 3, 4, 3)).repeat(4, axis=2).repeat(4, axis=3)
    seen = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], smooth)
    arrays = {
        "w1": weight,
        "g1": rng.uniform(0.5, 1.5, 4),
        "b1": rng.normal(size=4),
        "m1": seen.mean((0, 2, 3)),
        "v1": 0.3 * seen.var((0, 2, 3)),
    }
    return build_model(POINTWISE, opset=17, **{n: a.astype("f") for n, a in arrays.items()})


def made(model, *, samples=4, steps=3, picture=PICTURE, input_format=None, **options):
    """Synthesise on one thread."""
    return synthesize(
        model,
        harvest(model),
        picture=picture,
        input_format=input_format or InputFormat(),
        schedule=Schedule(samples, steps, **options),
        progress=Silent(),
        threads=1,
    )


def losses(model, tensors):
    """Squared deviations per channel of every layer from its statistics, in its units."""
    layers = harvest(model)
    outputs = run_model(with_outputs(model, [layer.output for layer in layers]), x=tensors)
    found = []
    for layer in layers:
        values = outputs[layer.output].astype(np.float64)
        mean, deviation = values.mean((0, 2, 3)), values.std((0, 2, 3))
        found.append(
            ((mean - layer.mean) / layer.unit) ** 2
            + ((deviation - layer.deviation) / layer.unit) ** 2
        )
    return found


def test_a_seed_decides_every_byte(rng):
    """The same seed gives the same pictures, another seed others."""
    model = net(rng)
    first, again, other = (made(model, seed=seed) for seed in (5, 5, 6))
    assert first.tensors.tobytes() == again.tensors.tobytes()
    assert (first.first_loss, first.last_loss) == (again.first_loss, again.last_loss)
    assert not np.array_equal(first.tensors, other.tensors)


@pytest.mark.parametrize(
    "input_format",
    [
        InputFormat(),
        InputFormat.from_range(-1, 1),
        InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_pictures_are_pictures(rng, input_format):
    """Shape and type are the input's, no value is out of its range, no two are alike."""
    result = made(net(rng), samples=5, steps=10, batch=2, input_format=input_format)
    assert result.tensors.shape == (5, *PICTURE)
    assert result.tensors.dtype == np.float32
    low, high = input_format.bounds(3)
    scaled = (result.tensors - low) / (high - low)
    assert scaled.min() >= -1e-6
    assert scaled.max() <= 1 + 1e-6
    flat = result.tensors.reshape(5, -1)
    assert len(np.unique(flat, axis=0)) == 5


def test_the_loss_falls(rng):
    """Forty steps make it less than a third."""
    result = made(net(rng), steps=40)
    assert result.last_loss < result.first_loss / 3


def test_finished_pictures_have_the_moments_that_were_reported(rng):
    """On the tensors themselves, the mean of the channels' losses is the last loss (5 %).

    A 1×1 Conv cannot tell a mirrored picture, and the last step is a short one.
    """
    model = pointwise(rng)
    result = made(model, steps=60)
    (channels,) = losses(model, result.tensors)
    assert result.last_loss < result.first_loss / 3
    assert channels.mean() == pytest.approx(result.last_loss, rel=0.05, abs=1e-6)


def test_the_first_loss_is_that_of_noise(rng):
    """What is reported as first is the loss of the pictures before any step (1e-4)."""
    model = pointwise(rng)
    result = made(model, steps=1, rate=1e-9)
    (channels,) = losses(model, result.tensors)
    assert result.first_loss == result.last_loss
    assert channels.mean() == pytest.approx(result.first_loss, rel=1e-4)


def test_losses_of_uneven_batches_count_by_their_pictures(rng):
    """Three pictures in batches of two and one: losses weighted 2 to 1."""
    model = pointwise(rng)
    result = made(model, samples=3, steps=1, batch=2, rate=1e-9)
    pair, single = (losses(model, part)[0].mean() for part in np.split(result.tensors, [2]))
    assert result.first_loss == pytest.approx((2 * pair + single) / 3, rel=1e-4)


@pytest.mark.parametrize("variance", [1e-12, 0.0, 4.8e7])
@pytest.mark.parametrize(("weight", "share"), [(1e-3, 0.5), (1.0, 0.75)])
def test_an_odd_channel_does_not_swamp_the_others(rng, variance, weight, share):
    """The loss of the other channels falls although one channel is dead or huge.

    To a half where its weights are small, as those of a dead channel are; to three quarters where
    they are not, so that no picture comes near its statistics.
    """
    weights = parameters(np.random.default_rng(0))["w1"]
    weights[0] *= weight
    model = net(rng, w1=weights, v1=np.float32([variance, 0.3, 0.2, 0.4, 0.3, 0.2]))
    before = made(model, steps=1, rate=1e-9).tensors
    after = made(model, steps=60).tensors
    live = [losses(model, tensors)[0][1:].mean() for tensors in (before, after)]
    assert live[1] < share * live[0]


@pytest.mark.parametrize("samples", [1, 2, 7, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("batch", [1, 8, 32])
@pytest.mark.parametrize("side", [16, 320, 640, 2000])
def test_batches_are_even(samples, batch, side):
    """All pictures are made, batches differ by one at most and stay within size and memory."""
    sizes = generate._batch_sizes(Schedule(samples, 1, batch=batch), (3, side, side))
    assert sum(sizes) == samples
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch
    assert max(sizes) == 1 or max(sizes) * side**2 <= generate._PIXELS_PER_BATCH
    fitting = max(generate._PIXELS_PER_BATCH // side**2, 1)
    assert len(sizes) == -(-samples // min(batch, fitting))


def test_progress_counts_every_step(rng):
    """The task is announced with, and advanced by, one step per optimiser step and batch."""
    seen = []

    class Recorder:
        def task(self, name, total):
            seen.append((name, total))
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def advance(self, note="", steps=1):
            seen.append((note, steps))

    model = net(rng)
    synthesize(
        model,
        harvest(model),
        picture=PICTURE,
        input_format=InputFormat(),
        schedule=Schedule(3, 4, batch=2),
        progress=Recorder(),
        threads=1,
    )
    assert seen[0] == ("Synthesising", 8)
    assert [steps for _, steps in seen[1:]] == [1] * 8
    assert all(note.startswith("loss ") for note, _ in seen[1:])


def test_a_loss_that_is_not_finite_is_an_error(rng):
    """When numbers overflow, the error names the step and the options of the input's range."""
    model = net(rng, g1=np.full(6, 1e20, np.float32))
    with pytest.raises(RuntimeFailure, match=r"diverged at step 1: the loss is (nan|inf)") as info:
        made(model)
    assert "--input-range" in str(info.value)
    assert "--mean/--std" in str(info.value)


def test_an_operator_without_a_gradient_is_named(rng):
    """The error has the operator, the node's name and the way around: pictures."""
    model = build_model(
        """(float[N,3,8,8] x) => (float[a,b,c,d] y) {
            odd = Det(x)
            shaped = Unsqueeze(odd, axes)
            y = BatchNormalization(shaped, one, zero, zero, one)
        }""",
        opset=17,
        axes=np.array([2, 3]),
        one=np.ones(3, np.float32),
        zero=np.zeros(3, np.float32),
    )
    with pytest.raises(UnsupportedOperatorError) as info:
        made(model, picture=(3, 8, 8))
    for part in ("Det", "make_odd", "--images"):
        assert part in str(info.value)


def test_what_comes_after_the_last_batchnorm_does_not_matter(rng):
    """An operator without a gradient behind the last BatchNorm is no obstacle."""
    text = NET.replace("    y = Batch", "    n2 = Batch").replace("}", "    y = Det(n2)\n}")
    text = text.replace("[a,b,c,d]", "[a,b]").replace("16,12", "16,16")
    model = build_model(text, opset=17, **parameters(rng))
    assert np.isfinite(made(model, picture=(3, 16, 16)).last_loss)
