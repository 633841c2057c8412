"""What users of the Python interface hand over comes in one form to the commands."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

from tests import nets
from zqc.commands.arguments import (
    check_output,
    check_outputs,
    images_of,
    model_of,
    name_of_model,
    progress_of,
    recipe_of,
)
from zqc.errors import ImageError, OptionError, OutputError
from zqc.progress import Silent
from zqc.recipe.recipe import PRESETS, Recipe


class Reader:
    """As ONNX Runtime's ``CalibrationDataReader``: one dict after another, then None."""

    def __init__(self, *arrays):
        self.left = list(arrays)

    def get_next(self):
        """The next input."""
        return {"images": self.left.pop(0)} if self.left else None


def test_models():
    """A path as text or Path, and models in memory as they are; nothing else."""
    proto = nets.detector()
    assert model_of("a.onnx") == model_of(Path("a.onnx")) == Path("a.onnx")
    assert model_of(proto) is proto
    in_memory = ir.from_proto(proto)
    assert model_of(in_memory) is in_memory
    assert (name_of_model(Path("x/a.onnx")), name_of_model(proto)) == ("a.onnx", "the model")
    with pytest.raises(OptionError, match="the model is of type int; give the path"):
        model_of(3)


@pytest.mark.parametrize("kind", ["arrays", "dicts", "reader", "generator", "single pictures"])
def test_pictures_one_after_another(rng, kind):
    """All become one array, in their order."""
    pictures = rng.normal(size=(4, 3, 5, 6)).astype(np.float32)
    halves = [pictures[:1], pictures[1:]]
    given = {
        "arrays": halves,
        "dicts": [{"x": half} for half in halves],
        "reader": Reader(*halves),
        "generator": (half for half in halves),
        "single pictures": list(pictures),
    }[kind]
    found, beside = images_of(given)
    np.testing.assert_array_equal(found, pictures)
    assert beside == {}


def test_pictures_as_they_are(rng):
    """An array, a path, and none at all."""
    array = rng.integers(0, 256, (2, 5, 6, 3), np.uint8)
    assert images_of(array)[0] is array
    assert images_of("folder") == (Path("folder"), {})
    assert images_of(None) == (None, {})


def test_values_beside_the_pictures(rng, caplog):
    """Small entries of a dict are values of other inputs; where they differ, the first count."""
    pictures = rng.normal(size=(2, 3, 5, 6)).astype("f")
    scales = np.array([[1, 2], [3, 4]], np.float32)
    size = np.array([5, 6])
    found, beside = images_of(
        {"x": pictures[i : i + 1], "scale": scales[i : i + 1], "size": size} for i in range(2)
    )
    np.testing.assert_array_equal(found, pictures)
    assert beside == {"scale": (1.0, 2.0), "size": (5.0, 6.0)}
    (record,) = caplog.records
    assert "'scale' differ from picture to picture" in record.getMessage()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are no pictures in what was given"),
        (7, "the pictures are of type int; give a folder"),
        ([np.zeros((1, 3, 4, 4)), np.zeros((1, 3, 5, 5))], "their shapes are .*1, 3, 4, 4"),
        ([{"a": np.zeros(3), "b": np.zeros(3)}], "has the entries a, b; give one"),
    ],
)
def test_pictures_that_cannot_be_used(given, message):
    """One message that names what is wrong."""
    with pytest.raises(ImageError, match=message):
        images_of(given)


def test_recipes(tmp_path):
    """By value, preset or file, with single fields in the place of its own."""
    assert recipe_of(None, {}) == Recipe()
    assert recipe_of("best", {"bits": 4}).bits == 4
    assert recipe_of("best", {"bits": 4}).rounding == PRESETS["best"].rounding
    path = tmp_path / "r.toml"
    path.write_text("bits = 4\nact_bits = 4\n")
    assert recipe_of(path, {"act_bits": 8}) == Recipe(bits=4)
    assert recipe_of(Recipe(seed=3), {"bits": 2}) == Recipe(seed=3, bits=2)


def test_misspelt_fields():
    """They raise, as a misspelt argument does, and the nearest one is named."""
    with pytest.raises(TypeError, match="there is no option 'bit'; did you mean bits"):
        recipe_of(None, {"bit": 4})
    with pytest.raises(TypeError, match="there is no option 'memroy'; did you mean memory"):
        recipe_of(None, {"memroy": 4})
    with pytest.raises(TypeError, match="there is no option 'zzzzz'; known: bits, act_bits"):
        recipe_of(None, {"zzzzz": 4})
    with pytest.raises(OptionError, match="bits is 9"):
        recipe_of(None, {"bits": 9})


def test_progress(capfd):
    """True writes to the standard error, an object is taken as it is, nothing says nothing."""
    mine = Silent()
    assert progress_of(mine) is mine
    assert isinstance(progress_of(None), Silent)
    assert isinstance(progress_of(False), Silent)
    with progress_of(True).task("Working", 1) as task:
        task.advance()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Working" in captured.err


def test_an_input_is_never_overwritten(tmp_path):
    """Neither the model, nor a twin, nor a picture: by whatever path it is named."""
    model, twin, pictures = tmp_path / "m.onnx", tmp_path / "twin.onnx", tmp_path / "pictures"
    pictures.mkdir()
    for path in (model, twin, pictures / "a.png"):
        path.write_bytes(b"x")
    link = tmp_path / "link.onnx"
    link.symlink_to(model)
    for output in (model, twin, link, pictures / "a.png"):
        with pytest.raises(OptionError, match=r"is (the input|a file of the input)"):
            check_output(output, model, twin, pictures, None)
    check_output(tmp_path / "new.onnx", model, twin, pictures, None)
    check_output(pictures / "new.onnx", model, twin, pictures, np.zeros(3))


def test_a_report_destroys_nothing(tmp_path, monkeypatch):
    """It is neither the output nor an input, even where the output is not written yet."""
    model, output = tmp_path / "model.onnx", tmp_path / "out.onnx"
    model.touch()
    with pytest.raises(OptionError, match="give each a name of its own"):
        check_outputs((output, output), model)
    with pytest.raises(OptionError, match="give each a name of its own"):
        check_outputs((output,), model, report=output)
    with pytest.raises(OptionError, match=r"r\.html cannot stand in .*out\.onnx, which is a file"):
        check_outputs((output,), model, report=output / "r.html")
    with pytest.raises(OptionError, match="is the input"):
        check_outputs((model, output), model)
    with pytest.raises(OutputError, match="does not exist; make it first"):
        check_outputs((tmp_path / "missing" / "r.html", output), model)
    check_outputs((tmp_path / "r.html", output), model)
    check_outputs((tmp_path / "r.html", None), model)
    with pytest.raises(OptionError, match=r"a report is an HTML file; call it .*r\.html"):
        check_outputs((output,), model, report=tmp_path / "r.txt")
    (tmp_path / "link.html").symlink_to("out.onnx")
    with pytest.raises(OptionError, match="give each a name of its own"):
        check_outputs((output,), model, report=tmp_path / "link.html")
    check_outputs((output,), model, report=tmp_path / "r.HTML")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"no space left for .*r\.html: about 1\.0 MB"):
        check_outputs((output,), model, report=tmp_path / "r.html")


def test_what_is_read_has_an_end(tmp_path):
    """A model or pictures that are a pipe are refused before anything waits for them."""
    os.mkfifo(tmp_path / "pipe")
    for take in (model_of, images_of):
        with pytest.raises(OptionError, match="pipe is a pipe or a device"):
            take(tmp_path / "pipe")
