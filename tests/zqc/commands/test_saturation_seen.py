"""Where kernels add 8-bit products in 16 bits, what that costs is measured and said."""

from dataclasses import replace

import numpy as np
import pytest

from tests.zqc.commands.small_detectors import bright_patches, write_layered, write_pictures
from zqc.commands import compile as compiler
from zqc.commands.compile import compile_model
from zqc.commands.pair import Pair, open_pair
from zqc.commands.saturation_seen import saturation_seen
from zqc.errors import RuntimeFailure
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat
from zqc.runtime import cpu

RANGE = InputFormat.from_range(0, 1)
AVX2 = frozenset({"avx2"})


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A float model and what is compiled of it, and pictures of another size of batch."""
    folder = tmp_path_factory.mktemp("files")
    pictures = write_pictures(folder / "pictures", bright_patches(4))
    model, quantized = write_layered(folder / "m.onnx"), folder / "q.onnx"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compiler, "median_latencies", lambda *_: [2.0, 1.0])
        recipe = compiler.Recipe(reduce_range=True, input_format=RANGE)
        compile_model(model, quantized, recipe=recipe, images=pictures, threads=1)
    shown = open_images(pictures, channels=3, height=64, width=64, input_format=RANGE)
    return open_pair((model, quantized), input_shape=None, values={}, threads=1), shown


def saturating(pair):
    """The same pair, with a quantized model half of whose outputs are cut off."""

    class Half:
        def __call__(self, feeds):
            return {n: np.clip(v, None, v.mean()) for n, v in pair.second.runner(feeds).items()}

    return replace(pair, second=replace(pair.second, runner=Half()))


@pytest.mark.parametrize(
    ("features", "spoiled", "said"),
    [(AVX2, True, True), (AVX2, False, False), (AVX2 | {"avx_vnni"}, True, False)],
)
def test_what_it_costs_is_said(monkeypatch, models, features, spoiled, said):
    """Where sums can saturate and the outputs suffer; by how much, and the remedy."""
    monkeypatch.setattr(cpu, "features", lambda: features)
    pair, pictures = models
    found = saturation_seen(saturating(pair) if spoiled else pair, pictures, threads=1)
    assert bool(found) == said
    if said:
        assert found.startswith("this processor has AVX2 without VNNI")
        assert found.endswith("compile with --reduce-range for such processors")
        assert "dB instead of" in found


def test_a_model_that_only_runs_with_fusions_is_not_judged(monkeypatch, models):
    """The comparison goes on without a word."""

    def refused(*_):
        raise RuntimeFailure("ONNX Runtime refuses the model")

    monkeypatch.setattr(cpu, "features", lambda: AVX2)
    monkeypatch.setattr(Pair, "unfused", refused)
    pair, pictures = models
    assert saturation_seen(saturating(pair), pictures, threads=1) == ""


def test_a_model_that_is_not_quantized_is_not_run_again(monkeypatch, models):
    """Nothing is said where the two files are swapped."""
    monkeypatch.setattr(cpu, "features", lambda: AVX2)
    monkeypatch.setattr(Pair, "unfused", None)
    pair, pictures = models
    swapped = replace(pair, first=pair.second, second=pair.first)
    assert saturation_seen(swapped, pictures, threads=1) == ""
