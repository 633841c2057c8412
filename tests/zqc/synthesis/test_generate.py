"""The whole synthesis: what it gives back, how it is stopped and goes on, and how it fails."""

import io

import numpy as np
import pytest

from tests.passes.helpers import build_model
from tests.zqc.synthesis.small_nets import (
    NET,
    PICTURE,
    Recorder,
    made,
    net,
    parameters,
    pointwise,
)
from tests.zqc.synthesis.test_loop import layer_values, set_loss
from zqc.errors import UnsupportedOperatorError
from zqc.pictures.input_format import InputFormat
from zqc.runtime import session
from zqc.statistics.batchnorm import harvest
from zqc.synthesis.loop import Schedule
from zqc.synthesis.objective import Objective
from zqc.synthesis.state import State

FULL = Objective(margin=3, stretch=0.01, total_variation=0.01)
"""Everything that could depend on chance or order."""


@pytest.mark.parametrize(("samples", "batch"), [(9, 1), (5, 3), (3, 8), (1, 1)])
def test_a_seed_decides_every_byte_on_any_number_of_threads(rng, samples, batch):
    """The same seed gives the same pictures and losses on 1, 2 and 3 threads."""
    model = net(rng)
    options = {"samples": samples, "batch": batch, "steps": 3, "objective": FULL, "seed": 5}
    first, *others = (made(model, threads=threads, **options) for threads in (1, 1, 2, 3))
    for other in others:
        assert other.tensors.tobytes() == first.tensors.tobytes()
        assert other.losses == first.losses


def test_another_seed_gives_other_pictures(rng):
    """No picture of one seed is near one of another."""
    model = net(rng)
    first, other = (made(model, seed=seed).tensors for seed in (5, 6))
    assert np.abs(first[:, None] - other[None]).mean((2, 3, 4)).min() > 0.05


@pytest.mark.parametrize(
    "input_format",
    [
        InputFormat(),
        InputFormat.from_range(-1, 1),
        InputFormat.from_range(0, 255),
        InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
@pytest.mark.parametrize("objective", [Objective(), Objective(smooth=False, margin=5)])
def test_pictures_are_pictures(rng, input_format, objective):
    """Shape and type are the input's, no value is out of its range, no two are alike."""
    result = made(
        net(rng), samples=5, steps=10, batch=2, input_format=input_format, objective=objective
    )
    assert result.stopped is None
    assert result.tensors.shape == (5, *PICTURE)
    assert result.tensors.dtype == np.float32
    low, high = input_format.bounds(3)
    scaled = (result.tensors - low) / (high - low)
    assert scaled.min() >= -1e-6
    assert scaled.max() <= 1 + 1e-6
    assert len(np.unique(result.tensors.reshape(5, -1), axis=0)) == 5


@pytest.mark.parametrize(("samples", "batch"), [(1, 1), (4, 1), (4, 8), (7, 3), (13, 1)], ids=str)
def test_the_loss_over_the_set_falls(rng, samples, batch):
    """Forty passes make it less than a third, for one batch, many, and an uneven last one.

    The last loss is that of the tensors: by numpy, from the unfolded model (1e-3).
    """
    model = pointwise(rng)
    result = made(model, samples=samples, batch=batch, steps=40)
    assert result.tensors.shape == (samples, *PICTURE)
    assert len(result.losses) == 41
    assert (result.first_loss, result.last_loss) == (result.losses[0], result.losses[-1])
    assert result.last_loss < result.first_loss / 3
    assert result.last_loss == pytest.approx(set_loss(model, result.tensors), rel=1e-3, abs=1e-6)


def test_the_loss_falls_in_the_large(rng):
    """The mean of each quarter of the run is below that of the quarter before."""
    losses = np.array(made(net(rng), samples=8, steps=40, objective=Objective(margin=3)).losses)
    quarters = [part.mean() for part in np.array_split(losses, 4)]
    assert quarters == sorted(quarters, reverse=True)
    assert losses[-1] < losses[0] / 1.5


def test_the_first_loss_is_that_of_the_first_pictures(rng):
    """What is reported as first is the loss of the pictures before any step (1e-4)."""
    model = net(rng)
    result = made(model, samples=5, batch=2, steps=0)
    assert result.first_loss == result.last_loss
    assert result.first_loss == pytest.approx(set_loss(model, result.tensors), rel=1e-4)


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

    def live(tensors):
        layer, values = harvest(model)[0], layer_values(model, tensors)[0]
        off = ((values.mean((0, 2, 3)) - layer.mean) / layer.unit) ** 2
        off += ((values.std((0, 2, 3)) - layer.deviation) / layer.unit) ** 2
        return off[1:].mean()

    noise = {"start": "gaussian", "rate": 0.1}
    before, after = (made(model, steps=steps, **noise).tensors for steps in (0, 60))
    assert live(after) < share * live(before)


def test_progress_gets_one_step_per_pass():
    """The task is announced with the number of passes, and told the loss after each."""
    seen = Recorder()
    made(net(np.random.default_rng(0)), samples=7, batch=2, steps=4, progress=seen)
    assert seen.tasks == [("Synthesising", 4)]
    assert [steps for steps in seen.steps if steps] == [1] * 4
    told = [note for note in seen.notes if note]
    assert len(told) == 4
    assert all(note.startswith("loss ") for note in told)


def test_the_whole_time_is_told_after_the_first_step(monkeypatch):
    """It is the first step times those that are left, and what the caller does afterwards."""
    clock = iter(range(0, 1000, 7))
    monkeypatch.setattr("zqc.synthesis.generate.time.monotonic", lambda: next(clock))
    said = []
    seen = Recorder()
    seen.say = said.append
    made(
        net(np.random.default_rng(0)),
        samples=2,
        steps=3,
        progress=seen,
        afterwards=lambda step: 4 * step,
    )
    assert said == ["About 42 s to go: 2 pictures, 3 steps each"]


def through_a_file(state, schedule):
    """The state as another process would read it."""
    file = io.BytesIO()
    np.savez(file, **state.to_arrays())
    file.seek(0)
    with np.load(file) as arrays:
        return State.from_arrays(dict(arrays), schedule.sizes)


@pytest.mark.parametrize(("samples", "batch"), [(7, 2), (9, 1), (2, 2)])
def test_an_interrupted_run_goes_on_where_it_stopped(rng, samples, batch):
    """Ctrl-C gives the pictures so far, and their state leads to the same bytes as no Ctrl-C."""
    model = net(rng)
    options = {"samples": samples, "batch": batch, "steps": 6, "objective": FULL}
    whole = made(model, **options)
    part = made(model, **options, progress=Recorder(interrupted=2))
    assert part.stopped == "interrupted after 2 of 6 steps"
    assert len(part.losses) == 3
    assert part.losses == whole.losses[:3]
    assert part.tensors.shape == (samples, *PICTURE)
    assert np.abs(part.tensors - whole.tensors).max() > 1e-3
    kept = through_a_file(part.state, Schedule(samples, 6, batch=batch))
    seen = Recorder()
    rest = made(model, **options, state=kept, progress=seen)
    assert rest.stopped is None
    assert rest.tensors.tobytes() == whole.tensors.tobytes()
    assert rest.losses == whole.losses
    assert rest.gaps == whole.gaps
    assert seen.tasks == [("Synthesising", 6)]
    assert seen.steps[0] == 2
    assert sum(seen.steps) == 6


@pytest.mark.parametrize("run", [5, 10, 35, 37, 53])
def test_ctrl_c_may_come_in_the_middle_of_a_pass(rng, monkeypatch, run):
    """Whichever run of a graph it hits, going on leads to the same bytes as no Ctrl-C."""
    model = net(rng)
    options = {"samples": 9, "steps": 3, "objective": FULL}
    whole = made(model, **options)
    keeping, runs = session.Runner.keeping, []

    def interrupted(self, *arguments):
        runs.append(self)
        if len(runs) == 9 + run:  # nine to measure the noise
            raise KeyboardInterrupt
        return keeping(self, *arguments)

    monkeypatch.setattr(session.Runner, "keeping", interrupted)
    part = made(model, **options)
    monkeypatch.undo()
    assert part.stopped is not None
    assert part.stopped.startswith(f"interrupted after {(run - 1) // 18} of 3")
    assert part.state.position == (run - 1) % 18 // 8 * 4  # two runs a step, four steps a wave
    rest = made(model, **options, state=through_a_file(part.state, Schedule(9, 3, batch=1)))
    assert rest.tensors.tobytes() == whole.tensors.tobytes()
    assert rest.losses == whole.losses


def test_a_finished_run_that_goes_on_is_finished(rng):
    """Nothing is left to do, and the pictures are the same."""
    model = net(rng)
    whole = made(model, steps=3)
    again = made(model, steps=3, state=whole.state)
    assert again.tensors.tobytes() == whole.tensors.tobytes()
    assert again.losses == whole.losses


def assert_stopped_with_good_pictures(result, step):
    """The message names the step and the options of the input's range; pictures are pictures."""
    assert result.stopped is not None
    for part in (f"diverged at step {step}:", "no longer finite", "--input-range", "--mean/--std"):
        assert part in result.stopped
    assert np.isfinite(result.tensors).all()
    assert result.tensors.min() >= 0
    assert result.tensors.max() <= 1
    assert len(np.unique(result.tensors.reshape(len(result.tensors), -1), axis=0)) > 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("samples", [3, 9])
def test_numbers_that_overflow_stop_it_with_the_last_good_pictures(rng, samples):
    """A loss that is infinite from the start: the noise comes back."""
    model = net(rng, g1=np.full(6, 1e20, np.float32))
    result = made(model, samples=samples)
    assert_stopped_with_good_pictures(result, 1)
    assert result.state.iteration == 0
    noise = made(model, samples=samples, steps=0).tensors
    assert result.tensors.tobytes() == noise.tobytes()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_run_that_diverges_later_keeps_the_pictures_of_before(rng, monkeypatch, good):
    """A loss of NaN in the n-th pass: the pictures of the passes before come back."""
    model = net(rng)
    keeping, steps = session.Runner.keeping, []

    def diverging(self, kept, feeds, keep):
        values, outputs = keeping(self, kept, feeds, keep)
        steps.extend([self] * ("loss" in outputs))
        return values, outputs | ({"loss": np.float32("nan")} if len(steps) > 4 * good else {})

    expected = made(model, steps=3, objective=FULL)
    before = made(model, steps=3, objective=FULL, progress=Recorder(interrupted=good or None))
    monkeypatch.setattr(session.Runner, "keeping", diverging)
    result = made(model, steps=3, objective=FULL)
    assert_stopped_with_good_pictures(result, good + 1)
    assert result.losses == expected.losses[: good + 1]
    if good:
        assert result.tensors.tobytes() == before.tensors.tobytes()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("samples", [3, 9])
def test_a_slope_that_is_not_finite_spoils_no_picture(rng, samples):
    """The root of zero has a finite value and no finite slope: the noise comes back."""
    text = NET.replace("r1 = Relu(n1)", "r0 = Relu(n1)\n    r1 = Sqrt(r0)")
    result = made(net(rng, text), samples=samples, steps=4)
    assert_stopped_with_good_pictures(result, 1)
    assert np.isfinite(result.losses).all()


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


@pytest.mark.parametrize("stretch", [0.0, 0.1])
def test_what_comes_after_the_last_matched_layer_does_not_matter(rng, stretch):
    """An operator without a gradient behind the last BatchNorm, or the head, is no obstacle."""
    text = NET.replace("y = Conv(n2, w3)", "raw = Conv(n2, w4)\n    y = Det(raw)")
    text = text.replace("[a,b,c,d]", "[a,b]").replace("16,12", "16,16")
    square = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    model = build_model(text, opset=17, w4=square, **parameters(rng))
    result = made(model, picture=(3, 16, 16), objective=Objective(stretch=stretch))
    assert np.isfinite(result.tensors).all()
    assert result.last_loss < result.first_loss
