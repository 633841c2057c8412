"""The Python interface: what it takes, what it returns, what it leaves alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import zqc
from tests import nets
from zqc.commands import amounts

TINY = zqc.Recipe(samples=2, effort="quick", input_format=zqc.InputFormat())


def test_every_function_takes_strings(detector_file, tmp_path, rng, monkeypatch):
    """A model is compiled, checked, timed and described with nothing but strings for paths."""
    monkeypatch.setattr(amounts, "_SYNTHESISED", {"quick": (2, 1, 0.0)})
    model, images = str(detector_file), str(tmp_path / "pictures.npz")
    np.savez(images, images=rng.uniform(0, 1, (3, 3, 16, 16)).astype(np.float32))
    made, card = str(tmp_path / "made.onnx"), str(tmp_path / "card.json")
    given = {"images": images, "input_format": zqc.InputFormat()}
    compiled = zqc.compile(model, made, recipe=TINY, images=images)
    assert compiled.output == Path(made)
    assert zqc.check(model, made, **given).images == 3
    assert zqc.bench(model, made, runs=1, **given).quantized.path == Path(made)
    zqc.stats(model, card, allow_few=True, **given)
    zqc.synthesize(model, str(tmp_path / "made"), recipe=TINY, statistics=card)
    assert (tmp_path / "made" / "pictures.npz").exists()


@pytest.fixture
def tensors(rng):
    """Three pictures as input tensors."""
    return rng.uniform(0, 1, (3, 3, 16, 16)).astype(np.float32)


def test_models_and_pictures_in_memory(detector_file, tensors, tmp_path):
    """A ModelProto, an onnx_ir.Model and a file give the same bytes; nothing is written unasked."""
    before = sorted(tmp_path.iterdir())
    proto = nets.detector()
    content = proto.SerializeToString(deterministic=True)
    given = {"images": tensors, "input_format": zqc.InputFormat(), "bits": 4}
    made = [zqc.compile(model, **given) for model in (proto, ir.from_proto(proto))]
    assert [result.output for result in made] == [None, None]
    graphs = [each.model.graph.SerializeToString(deterministic=True) for each in made]
    assert graphs[0] == graphs[1]
    assert sorted(tmp_path.iterdir()) == before
    assert proto.SerializeToString(deterministic=True) == content
    onnx.checker.check_model(made[0].model)
    written = zqc.compile(detector_file, tmp_path / "out.onnx", **given)
    assert written.output.read_bytes() == written.content
    assert written.model.graph.SerializeToString(deterministic=True) == graphs[0]
    checked = zqc.check(proto, made[0].model, images=list(tensors), input_format=zqc.InputFormat())
    assert checked.images == 3
    assert zqc.inspect(proto).batch_norms == 1


def test_results_print_themselves(detector_file):
    """As the command does, and as HTML in a notebook."""
    result = zqc.inspect(str(detector_file))
    assert "BatchNorm" in str(result)
    assert "detector.onnx" in result._repr_html_()


def test_help_and_names():
    """dir() lists what is public, and every function shows an example and what it returns."""
    assert dir(zqc) == sorted(zqc.__all__)
    for function in (zqc.compile, zqc.check, zqc.bench, zqc.inspect, zqc.stats, zqc.synthesize):
        assert ">>> " in function.__doc__
        assert "Returns:" in function.__doc__


def test_misspelt_options_raise(detector_file):
    """Before anything is read."""
    with pytest.raises(TypeError, match="did you mean bits"):
        zqc.compile(detector_file, bit=4)


def test_python_m_zqc():
    """``python -m zqc`` is the command."""
    done = subprocess.run(
        [sys.executable, "-m", "zqc", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"zqc {zqc.__version__}\n"
