"""A detector with an open batch is compiled for every target, and the result runs."""

import math

import numpy as np
import onnx
import pytest

from tests import nets
from zqc import targets
from zqc.commands import compile as compiler
from zqc.commands.read_recipe import read_recipe
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe
from zqc.runtime import session

RECIPE = Recipe(bits=4, samples=2, effort="quick", input_format=InputFormat(), require_integer=True)


@pytest.mark.parametrize("target", targets.BUILT_IN)
def test_every_target(tmp_path, monkeypatch, target):
    """The file holds its target, agrees with the float model, and says where it was measured."""
    monkeypatch.setattr(compiler, "median_latencies", lambda runners, feeds: [2.0, 1.0])
    source = tmp_path / "detector.onnx"
    proto = nets.detector()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(proto, source)
    recipe = Recipe(**(vars(RECIPE) | {"target": target}))
    result = compiler.compile_model(source, recipe=recipe, no_statistics=True, threads=1)
    kernels = targets.find(target).kernels
    assert (result.target, result.kernels) == (target, kernels)
    assert math.isnan(result.latency_after_ms) is (kernels != "here")
    assert result.integer_layers == len(result.layers)
    assert result.float_operators == ()
    assert all(layer.weight_bits <= 8 for layer in result.layers)
    assert all(part.correlation > 0.8 for part in result.agreement)
    assert read_recipe(result.output).target == target
    runner = session.load(result.output, threads=1)
    (shape,) = (value.shape for value in runner.session.get_inputs())
    assert (shape[0] == 1) is (target in ("qnn", "vitisai"))
    size = [side if isinstance(side, int) else 2 for side in shape]
    outputs = runner({runner.session.get_inputs()[0].name: np.zeros(size, np.float32)})
    assert all(len(value) == size[0] for value in outputs.values())
