"""The stages one after another: what is computed once, and what is carried on."""

import numpy as np
import onnx_ir as ir
import pytest

from tests.calibration import plan_of
from tests.passes.helpers import build_model, run_model
from zqc import pipeline
from zqc.model_io.ends import Ends
from zqc.model_io.interface import Interface
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.batches import Batches
from zqc.pictures.images import ImageSet
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.recipe.recipe import Recipe

NET = """(float[n,3,8,8] x) => (float[n,4,8,8] y) {
    a = Conv(x, w0) b = Relu(a) c = Conv(b, w1) d = Relu(c) e = Conv(d, w2) f = Relu(e)
    y = Conv(f, w3)
}"""
METADATA = {"precision": "test"}


def network(spread):
    """Four layers; channels behind the second and the third one are as wide as ``spread`` says."""
    rng = np.random.default_rng(3)
    shapes = [(8, 3, 1, 1), (8, 8, 1, 1), (8, 8, 1, 1), (4, 8, 1, 1)]
    weights = [rng.normal(0, 1 / np.sqrt(s[1]), s).astype(np.float32) for s in shapes]
    widths = np.asarray(spread, np.float32).reshape(-1, 1, 1, 1)
    for index in (1, 2):
        weights[index] *= widths
        weights[index + 1] /= widths.reshape(1, -1, 1, 1)
    return build_model(NET, **{f"w{i}": weight for i, weight in enumerate(weights)})


@pytest.fixture
def calls(monkeypatch):
    """How often each stage is asked, by name."""
    found = dict.fromkeys(("calibrated", "quantize", "refit", "output_agreement"), 0)
    for name in found:
        stage = getattr(pipeline, name)

        def counted(*arguments, name=name, stage=stage, **options):
            found[name] += 1
            return stage(*arguments, **options)

        monkeypatch.setattr(pipeline, name, counted)
    return found


def run(model, **options):
    """Quantize with pictures of noise."""
    plan = plan_of(Recipe(input_format=InputFormat(), **options))
    interface = Interface.of(ir.to_proto(model), model, {})
    ends = Ends(("y",))
    loaded = LoadedModel(model, "net.onnx", "", 1_000_000, 21, 10, interface, ends)
    prepared, plan = pipeline.begin(loaded, plan)
    x = np.random.default_rng(0).uniform(0, 1, (4, 3, 8, 8)).astype(np.float32)
    batches = Batches.of(ImageSet.of_tensors(x, "noise"), prepared)
    return pipeline.run(loaded, prepared, (), batches, plan, metadata=METADATA, progress=Silent())


SPREAD = [64, 32, 16, 8, 8, 4, 2, 1]


def test_the_two_nearest_candidates_are_finished(calls):
    """With 4-bit activations there are four, compared by these; the best file of two is taken."""
    outcome = run(network(SPREAD), bits=8, act_bits=4, effort="quick")
    assert calls == {"calibrated": 4, "quantize": 4 + 2, "refit": 0, "output_agreement": 2}
    assert outcome.candidate.equalized.factors
    assert not outcome.candidate.ranges.statistics.moments  # they take most of the memory


def test_one_form_is_quantized_once(calls):
    """With 8 bits nothing is chosen."""
    run(network(SPREAD))
    assert calls == {"calibrated": 1, "quantize": 1, "refit": 0, "output_agreement": 1}


def test_a_refit_takes_the_place_of_the_quantization(calls):
    """Where there is one form, it is not quantized twice."""
    run(network(SPREAD), rounding="refitted")
    assert calls == {"calibrated": 1, "quantize": 0, "refit": 1, "output_agreement": 1}


def test_what_is_learned_goes_on_from_the_winner(calls):
    """It is not quantized anew, and what comes out is compared once more.

    A tenth of the loss is gone on pictures held out, which is what learning minds: outputs over all
    four pictures may be nearer or farther.
    """
    learned = run(network(SPREAD), bits=8, act_bits=4, rounding="learned")
    assert calls == {"calibrated": 4, "quantize": 4 + 2, "refit": 0, "output_agreement": 3}
    assert learned.learned is not None
    assert learned.learned < 0.9


def test_weights_of_few_bits_are_rounded_for_what_they_read(calls, monkeypatch):
    """Once more, for inputs with their noise: nearer by a tenth on pictures that nothing has seen.

    Narrow channels beside wide ones are mostly noise with 4 bits, so that weights must not be
    rounded as if these could make up for others.
    """
    model, errors = network(SPREAD), []
    x = np.random.default_rng(9).uniform(0, 1, (64, 3, 8, 8)).astype(np.float32)
    for noise in (pipeline.noise_between, lambda *_: {}):
        monkeypatch.setattr(pipeline, "noise_between", noise)
        few = {"bits": 4, "act_bits": 4, "effort": "quick", "uniform_bits": True}
        outcome = run(model, equalization="none", **few)
        gap = run_model(model, x=x)["y"] - run_model(outcome.written.quantized, x=x)["y"]
        errors.append(float(np.square(gap).mean()))
    assert calls["quantize"] == 2 * 2
    assert errors[0] < 0.9 * errors[1]


def test_equalization_is_taken_where_it_lowers_the_error():
    """Channels that differ 64-fold lose nearly everything on one 4-bit grid; equal ones do not."""
    plain = run(network(SPREAD), act_bits=4, equalization="none").agreement[0].sqnr_db
    best = run(network(SPREAD), act_bits=4)
    assert best.candidate.equalized.factors
    assert best.agreement[0].sqnr_db > plain + 3


def test_candidates_are_judged_by_bits_that_layers_get(monkeypatch):
    """What one layer loses by 4-bit weights that it will not have decides nothing.

    The form whose activations suffer least is among those that are finished, and of these the file
    whose outputs suffer least is the one that comes out.
    """
    seen = []
    compared = pipeline.output_error

    def noted(parts):
        seen.append(compared(parts))
        return seen[-1]

    monkeypatch.setattr(pipeline, "output_error", noted)
    outcome = run(network(SPREAD), bits=4, act_bits=4, effort="quick")
    assert len(seen) == 4 + 2
    assert compared(outcome.agreement) == min(seen[4:])


def test_bits_that_are_chosen_are_reported(calls):
    """The layers' own bits come with the file, which is compared anew."""
    outcome = run(network(SPREAD), target_size=0.99)
    assert set(outcome.bits_of) == {"make_a", "make_c", "make_e", "make_y"}
    assert calls["output_agreement"] == 1
