"""Every layer evaluated, and what it gains and costs to spare it."""

import itertools

import pytest

from tests.diagnosed import LAYERS, job_of, quantized
from zqc.commands.sensitivity_job import Evaluator
from zqc.commands.sensitivity_layers import evaluated_layers, evaluated_steps, extra_bytes
from zqc.diagnosis.cache import Cache
from zqc.diagnosis.evaluate import hash_of
from zqc.diagnosis.suggestion import Price
from zqc.progress import Silent
from zqc.quantization.quantize import quantize

NARROW = ("depthwise", "deep", "shortcut")
"""The layers of 4 bits; the first one and the heads have 8."""


@pytest.fixture(scope="module")
def evaluator():
    """Evaluates the net at 4 bits."""
    job = job_of(bits=4)
    store = Cache(hash_of(job.subject.quantizable, job.bench), None, resume=False)
    return Evaluator(job, store, 1, None, Silent())


@pytest.fixture(scope="module")
def evaluated(evaluator):
    """The layers, all of them quantized, and prices."""
    return evaluated_layers(evaluator, extra_bytes(evaluator.job))


def test_bytes_are_those_of_a_file_that_is_made(evaluator):
    """To a few bytes; half a byte for each weight is what 8 bits cost more than 4."""
    job = evaluator.job
    extra = extra_bytes(job)
    assert set(extra) == set(LAYERS)
    candidate = quantized(bits=4)[2].candidate

    def size(bits_of):
        made = quantize(
            job.model, candidate.ranges, job.plan, means=candidate.means, bits_of=bits_of
        )
        return len(job.content(made))

    together = size(dict.fromkeys(NARROW, 8)) - size({})
    assert sum(extra[name] for name in NARROW) == pytest.approx(together, abs=64)
    assert extra["deep"] == pytest.approx(1152 / 2, abs=64)


def test_rows_stand_in_graph_order_with_their_costs(evaluator, evaluated):
    """The last cumulative effect is that of all, and bytes are those of ``extra_bytes``."""
    layers, everything, _ = evaluated
    extra = extra_bytes(evaluator.job)
    assert tuple(layer.name for layer in layers) == LAYERS
    assert layers[-1].cumulative == everything
    assert [layer.spared_bytes for layer in layers] == [round(extra[name]) for name in LAYERS]
    for layer in layers:
        assert layer.gain_scores_db == layer.restored.scores_db - everything.scores_db


def test_prices_are_what_a_layer_does_less_alone(evaluator, evaluated):
    """Error alone with 4 bits less error alone with 8; layers that have 8 are left out."""
    layers, _, prices = evaluated
    assert tuple(price.name for price in prices) == NARROW
    effects = evaluator.effects("", evaluator.job.subject.alone_spared())
    spared = dict(zip(LAYERS, effects, strict=True))
    rows = {layer.name: layer for layer in layers}
    for price in prices:
        layer = rows[price.name]
        assert price.gain == pytest.approx(layer.alone.error - spared[price.name].error)
        assert price.bytes == pytest.approx(layer.spared_bytes, abs=0.5)


def test_steps_spare_more_and_more(evaluator, evaluated):
    """Each has the layers of the one before, costs their bytes, and stays within the budget."""
    _, everything, prices = evaluated
    budget = 2000
    steps, best = evaluated_steps(evaluator, prices, everything, budget)
    known = {price.name: price.bytes for price in prices}
    for before, after in itertools.pairwise(steps):
        assert after.layers[: len(before.layers)] == before.layers
    for step in steps:
        assert step.extra_bytes == round(sum(known[name] for name in step.layers)) <= budget
    assert best in steps
    assert best.effect.error < everything.error


def test_without_room_nothing_is_spared(evaluator, evaluated):
    """Not a layer is as cheap as a byte."""
    _, everything, prices = evaluated
    assert evaluated_steps(evaluator, prices, everything, 1) == ((), None)
    useless = [Price(price.name, -1.0, price.bytes) for price in prices]
    assert evaluated_steps(evaluator, useless, everything, 10**6)[1] is None
