"""Weights and biases trained at once against the float model."""

import sys
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from tests.passes.helpers import run_model
from tests.zqc.tuning.nets import BITS, GRIDS, networks
from zqc.errors import InputShapeError
from zqc.pictures.batches import Batches
from zqc.pictures.images import ImageSet
from zqc.progress import Lines, Silent
from zqc.tuning import tune as module
from zqc.tuning.objective import USUAL
from zqc.tuning.schedule import Schedule
from zqc.tuning.tune import tune

SCHEDULE = Schedule(pictures=400, weight_rate=0.02)


def tuned(
    *, seed=0, pictures=32, progress=None, schedule=SCHEDULE, objective=USUAL, store=None, bits=BITS
):
    """A float model, the same quantized before and after training, and pictures it never saw."""
    model, quantized, x = networks()
    batches = Batches.of(ImageSet.of_tensors(x[:pictures], "noise"), model)
    new = tune(
        model,
        quantized,
        bits,
        list(GRIDS),
        batches,
        schedule=schedule,
        objective=objective,
        store=store,
        seed=seed,
        threads=1,
        progress=progress or Silent(),
    )
    assert new.error is None or 0 < new.error <= 1
    return model, quantized, new.model, x[32:]


def error(model, quantized, x):
    """Mean squared error of the output, over batches of two."""
    pairs = [x[i : i + 2] for i in range(0, len(x), 2)]
    gaps = [run_model(model, x=p)["y"] - run_model(quantized, x=p)["y"] for p in pairs]
    return float(np.mean(np.square(gaps)))


def test_outputs_come_nearer_on_pictures_that_were_not_seen():
    """With 3 and 4 bits: less than four fifths of the error of rounding to the nearest."""
    model, before, after, unseen = tuned()
    assert error(model, after, unseen) < 0.8 * error(model, before, unseen)


def test_biases_alone():
    """Without layers whose weights are trained every weight stays, and biases do make up."""
    dampened = replace(USUAL, dampening=0.1)  # which pulls at weights alone
    model, before, after, unseen = tuned(bits={}, objective=dampened)
    assert error(model, after, unseen) < error(model, before, unseen)
    kinds = {
        value.dtype
        for name, value in before.graph.initializers.items()
        if not np.array_equal(
            after.graph.initializers[name].const_value.numpy(), value.const_value.numpy()
        )
    }
    assert kinds == {ir.DataType.INT32}


def test_the_same_seed_gives_the_same_integers():
    """Another one gives others."""

    def integers(seed):
        _, _, model, _ = tuned(seed=seed, schedule=Schedule(pictures=40, weight_rate=0.05))
        return [v.const_value.numpy().tobytes() for v in model.graph.initializers.values()]

    assert integers(1) == integers(1)
    assert integers(1) != integers(2)


def test_the_form_of_the_model_does_not_change():
    """Same nodes, same types, same scales: the same file but for the integers."""
    _, before, after, _ = tuned(schedule=Schedule(pictures=40))
    assert [n.op_type for n in before.graph] == [n.op_type for n in after.graph]
    for name, value in before.graph.initializers.items():
        new = after.graph.initializers[name]
        assert (new.dtype, new.shape) == (value.dtype, value.shape)
        if value.dtype.is_floating_point():
            assert np.array_equal(new.const_value.numpy(), value.const_value.numpy())


def test_what_does_not_help_is_not_taken():
    """At a rate at which training diverges, the state that it begins with is the best."""
    _, before, after, _ = tuned(schedule=Schedule(pictures=40, weight_rate=50.0, bias_rate=50.0))
    for name, value in before.graph.initializers.items():
        assert np.array_equal(
            after.graph.initializers[name].const_value.numpy(), value.const_value.numpy()
        )


def test_a_graph_that_cannot_be_differentiated_is_left_as_it_is(monkeypatch, capsys):
    """A line says why, and the compilation goes on with rounded weights."""

    def refused(*_, **__):
        raise InputShapeError("the shape of t is unknown")

    monkeypatch.setattr(module, "graphs", refused)
    _, before, after, _ = tuned(progress=Lines(sys.stdout))
    assert after is before
    assert "Nothing is learned, weights are only rounded: the shape of t" in capsys.readouterr().out
