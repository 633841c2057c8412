"""Two models are measured."""

import dataclasses

import numpy as np
import onnx
import pytest

from zqc.benchmark.results import IntegerPeak
from zqc.commands import bench as command
from zqc.errors import ModelError, OptionError
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe
from zqc.recipe.toml import to_toml
from zqc.runtime import session


@pytest.fixture
def bench(monkeypatch):
    """Measure quickly: no process for the memory, and a known peak."""
    monkeypatch.setattr(command, "peak_memory", lambda path, feeds, threads, provider: 1000)
    monkeypatch.setattr(command, "integer_peak", lambda threads: IntegerPeak(50.0, (1, 2, 3)))

    def run(*paths, **options):
        return command.bench(*paths, **{"runs": 3, "input_shape": (16, 24), **options})

    return run


def test_a_float_and_a_quantized_model(write, bench):
    """Layers, kernels, sizes and speeds of both."""
    paths = write("f.onnx"), write("q.onnx", quantized=True)
    result = bench(*paths, batch=2)
    assert (result.provider, result.threads, result.runs) == (session.CPU, 1, 3)
    assert result.inputs == ("x: float 2×3×16×24",)
    assert result.data == "random in 0:1 (assumed)"
    assert result.peak.gops == 50
    first, second = result.float_model, result.quantized
    assert [(m.integer_layers, m.layers) for m in (first, second)] == [(0, 1), (1, 1)]
    assert [m.bytes_on_disk for m in (first, second)] == [p.stat().st_size for p in paths]
    assert (first.dense, first.grouped, second.grouped, second.dense.layers) == (
        None,
        None,
        None,
        1,
    )
    ratio = first.latency_ms.median / second.latency_ms.median
    assert result.speedup.median == pytest.approx(ratio)
    for model in (first, second):
        assert model.latency_ms.low <= model.latency_ms.median <= model.latency_ms.high
        assert sum(model.shares.values()) == pytest.approx(1)
        assert sum(k.ms for k in model.kernels) == pytest.approx(model.kernels_ms)
        assert (model.peak_memory, model.elsewhere) == (1000, 0)
    conv = next(k for k in second.kernels if k.op_type == "QLinearConv")
    assert conv.name == "conv"
    assert conv.gops == pytest.approx(2 * 2 * 8 * 16 * 24 * 27 / (conv.ms * 1e6))
    assert second.dense.gops == pytest.approx(conv.gops)
    assert conv.of_peak == pytest.approx(conv.gops / 50)


def test_two_float_models(write, bench):
    """No integer layer, no integer peak."""
    path = write()
    result = bench(path, path)
    assert result.peak is None
    assert result.quantized.shares["integer"] == 0
    assert all(k.gops is None for k in result.quantized.kernels)
    assert set(dataclasses.asdict(result)) >= {"machine", "float_model", "quantized", "speedup"}


def test_kernels_of_another_provider(write, bench, monkeypatch):
    """What a provider leaves to the processor is told, and no integer peak is compared with."""
    if "AzureExecutionProvider" not in session.providers():
        pytest.skip("no provider here that computes nothing")
    result = bench(write("f.onnx"), write("q.onnx", quantized=True), provider="azure")
    assert result.provider == "AzureExecutionProvider"
    assert (result.quantized.elsewhere, result.peak) == (1, None)


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider"])
def test_provider_names(name):
    """As ONNX Runtime calls them, or shorter, in any case."""
    assert command.provider_name(name) == session.CPU


def test_a_provider_that_is_not_there(write, bench):
    """The error names those that are."""
    path = write()
    with pytest.raises(OptionError, match=r"no execution provider npu; it has .*CPU"):
        bench(path, path, provider="npu")


@pytest.mark.parametrize("options", [{"runs": 0}, {"threads": 0}, {"batch": 0}])
def test_nothing_to_measure(write, bench, options):
    """Each count is at least 1."""
    path = write()
    with pytest.raises(OptionError, match="at least 1"):
        bench(path, path, **options)


def test_what_is_no_model(write, bench, tmp_path):
    """A file that is no ONNX model is named."""
    path = tmp_path / "x.onnx"
    path.write_text("hello")
    with pytest.raises(ModelError, match=r"x\.onnx is a text file"):
        bench(write(), path)


def test_other_inputs(write, bench):
    """Models with other inputs cannot be compared."""
    with pytest.raises(ModelError, match="the inputs differ"):
        bench(write("a.onnx"), write("b.onnx", input_name="z"))


def test_the_range_of_the_recipe(write, bench):
    """The recipe in the metadata says it, unless the options do or nobody can read it."""
    plain, compiled = write("a.onnx"), write("b.onnx")
    recipe = to_toml(Recipe(input_format=InputFormat.from_range(-1, 1)))
    for text, origin in ((recipe, "-1:1 (from the recipe in the model)"), ("?", "0:1 (assumed)")):
        model = onnx.load(compiled)
        onnx.helper.set_model_props(model, {"zqc.recipe": text})
        onnx.save(model, compiled)
        assert bench(plain, compiled).data == f"random in {origin}"
    given = InputFormat.from_range(0, 255)
    assert bench(plain, compiled, input_format=given).data == "random in 0:255"


def test_pictures(write, bench, tmp_path, rng):
    """They are fed instead, and named."""
    path = tmp_path / "p.npy"
    np.save(path, rng.integers(0, 256, (2, 16, 24, 3), np.uint8))
    model = write()
    assert bench(model, model, images=path).data == f"{path}, 0:1 (assumed)"
