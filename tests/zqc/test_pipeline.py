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


def test_the_better_candidate_is_carried_on(calls):
    """With 4-bit activations there are two, compared by these with weights of 8 bits."""
    outcome = run(network(SPREAD), bits=8, act_bits=4, effort="quick")
    assert calls == {"calibrated": 2, "quantize": 2 + 1, "refit": 0, "output_agreement": 2}
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
    """It is not quantized anew."""
    learned = run(network(SPREAD), bits=8, act_bits=4, rounding="learned")
    assert calls == {"calibrated": 2, "quantize": 2 + 1, "refit": 0, "output_agreement": 2}
    assert learned.learned is not None
    assert learned.learned < 1


def test_learning_makes_up_for_what_one_grid_loses():
    """A third of the loss is gone on pictures held out, which is what learning minds."""
    learned = run(network(SPREAD), bits=8, act_bits=4, rounding="learned", equalization="none")
    assert learned.learned is not None
    assert learned.learned < 2 / 3


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


def test_weights_of_few_bits_decide_nothing_between_candidates(monkeypatch):
    """They get the bits that they need later; the candidates are compared with 8."""
    seen = []
    rounded = pipeline.quantize

    def noted(model, ranges, plan, **options):
        seen.append((plan.recipe.weight_bits, plan.recipe.rounding))
        return rounded(model, ranges, plan, **options)

    monkeypatch.setattr(pipeline, "quantize", noted)
    run(network(SPREAD), bits=4, act_bits=4, effort="quick", rounding="compensated")
    assert seen[:2] == [(8, "nearest")] * 2
    assert set(seen[2:]) == {(4, "compensated")}


def test_bits_that_are_chosen_are_reported(calls):
    """The layers' own bits come with the file, which is compared anew."""
    outcome = run(network(SPREAD), target_size=0.99)
    assert set(outcome.bits_of) == {"make_a", "make_c", "make_e", "make_y"}
    assert calls["output_agreement"] == 1
