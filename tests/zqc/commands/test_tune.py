"""``zqc.tune``: a compilation that learns."""

import onnx_ir as ir
import pytest

import zqc
from tests.zqc.synthesis.small_detector import detector
from zqc.commands import tune as module
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import PRESETS, TUNED
from zqc.recipe.toml import from_toml


@pytest.fixture
def asked(monkeypatch):
    """What ``zqc.compile`` is called with."""
    calls = []
    monkeypatch.setattr(module, "compile_model", lambda *a, **k: calls.append((a, k)))
    return calls


def test_it_is_a_compilation_of_thorough_effort(asked):
    """Or of what a recipe asks for, but learned in any case."""
    zqc.tune("m.onnx", bits=4)
    zqc.tune("m.onnx", "o.onnx", recipe=PRESETS["fast"], ema=True)
    same = {"rounding": "learned"}
    assert asked[0] == (("m.onnx", None), {"recipe": TUNED, "bits": 4} | same)
    assert asked[1] == (("m.onnx", "o.onnx"), {"recipe": PRESETS["fast"], "ema": True} | same)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The file of a detector."""
    path = tmp_path_factory.mktemp("tune") / "model.onnx"
    ir.save(detector(), path)
    return path


def test_all_terms_of_the_loss_on_task_specific_pictures(file, tmp_path, monkeypatch):
    """The file holds the recipe, and something was learned."""
    monkeypatch.setattr("zqc.commands.amounts._TASK_STEPS", {"quick": (4, 4)})
    weights = {"detection": 0.2, "heads": 0.1, "dampening": 0.05}
    result = zqc.tune(
        file,
        tmp_path / "out.onnx",
        effort="quick",
        samples=3,
        task_specific=True,
        loss_weights=weights,
        pictures_seen=8,
        ema=True,
        equalization="none",
        input_format=InputFormat(),
        threads=1,
    )
    assert 0 < result.learned <= 1
    assert not result.interrupted
    recipe = from_toml(result.recipe, where="the result")
    assert recipe.loss_weights == weights
    assert (recipe.pictures_seen, recipe.ema, recipe.rounding) == (8, True, "learned")


def test_a_loss_that_is_unknown_cannot_count(tmp_path):
    """The error names what asks for it, before any picture is made."""
    model = detector()
    del model.metadata_props["task"], model.metadata_props["names"]
    model.graph.outputs[:] = [v for n in model.graph for v in n.outputs if v.name == "fine"]
    ir.save(model, tmp_path / "m.onnx")
    for term in ("detection", "agreement"):
        with pytest.raises(OptionError, match=f"--loss-weights {term}=… needs the loss"):
            zqc.tune(tmp_path / "m.onnx", input_format=InputFormat(), loss_weights={term: 0.1})
    with pytest.raises(TypeError, match=r"no option 'rounding': zqc\.tune learns"):
        zqc.tune(tmp_path / "m.onnx", rounding="nearest")


def test_ctrl_c_shows_in_the_result(file, tmp_path, monkeypatch):
    """The file is the best so far: whoever does more than one thing has to stop all the same."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("zqc.tuning.training.Training._stepped", interrupted)
    result = zqc.tune(
        file,
        tmp_path / "out.onnx",
        effort="quick",
        samples=2,
        pictures_seen=8,
        equalization="none",
        input_format=InputFormat(),
        threads=1,
    )
    assert result.interrupted
    assert result.learned == 1
    assert result.output.exists()
