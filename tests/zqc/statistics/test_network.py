"""The part of a model whose statistics are known."""

import numpy as np
import onnx_ir as ir
import pytest

from passes.graph import with_outputs
from tests.passes.helpers import build_model, relative_error, run_model
from tests.zqc.synthesis import pytorch_twin as twin
from zqc.statistics.batchnorm import harvest
from zqc.statistics.network import matched_part

BATCH = (2, 3, 10, 12)


@pytest.fixture
def model(rng):
    """The net with two heads."""
    return build_model(twin.NET, opset=17, **twin.net_parameters(rng))


def test_the_part_computes_what_the_model_computes(rng, model):
    """All wanted values, BatchNorm folded, are those of the unfolded model (1e-5)."""
    wanted = [*twin.LAYERS, *twin.RAW]
    part, values = matched_part(model, wanted, BATCH)
    x = rng.uniform(0, 1, BATCH).astype(np.float32)
    expected = run_model(with_outputs(model, wanted), x=x)
    got = run_model(part, **{part.graph.inputs[0].name: x})
    assert not any(node.op_type == "BatchNormalization" for node in part.graph)
    for name in wanted:
        pair = ({name: expected[name]}, {name: got[values[name].name]})
        assert relative_error(*pair) <= 1e-5
        assert list(values[name].shape) == list(expected[name].shape)


def test_the_part_ends_with_what_is_wanted(model):
    """Nothing behind the wanted values is left, nor any name of the model's."""
    part, values = matched_part(model, ["after_conv"], BATCH)
    assert set(values) == {"after_conv"}
    assert list(part.graph.outputs) == [values["after_conv"]]
    assert {node.op_type for node in part.graph} == {"Conv"}
    named = [*part.graph.inputs, *part.graph.initializers.values()]
    named += [value for node in part.graph for value in node.outputs]
    assert all(value.name.startswith("model/") for value in named)


def test_the_model_is_left_as_it_was(model):
    """The part is a copy: serialised, the model is the same before and after."""
    layers = [layer.output for layer in harvest(model)]
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    matched_part(model, layers, BATCH)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
