"""A recipe by its preset, its file or a compiled model."""

import onnx
import pytest

from tests import nets
from zqc.commands.read_recipe import read_recipe
from zqc.errors import ModelError, OptionError
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import PRESETS, Recipe
from zqc.recipe.toml import to_toml


def test_the_name_of_a_preset_comes_before_a_file(tmp_path, monkeypatch):
    """A file of the same name needs a path, such as ./fast."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fast").write_text("bits = 3")
    assert read_recipe("fast") is PRESETS["fast"]
    assert read_recipe("./fast") == Recipe(bits=3)


def test_unreadable_files(tmp_path):
    """What is no file, no text or no compiled model is said to be so."""
    with pytest.raises(OptionError, match=r"hqtp does not exist.*hptq, fast, best"):
        read_recipe("hqtp")
    with pytest.raises(OptionError, match="cannot be read"):
        read_recipe(tmp_path)
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(OptionError, match="is no text"):
        read_recipe(path)
    with pytest.raises(ModelError, match="does not exist"):
        read_recipe(tmp_path / "model.onnx")


def test_models_are_recipes(tmp_path):
    """A compiled model gives its recipe back; another one says that it has none."""
    path, proto = tmp_path / "model.onnx", nets.detector()
    onnx.save(proto, path)
    with pytest.raises(OptionError, match="holds no recipe"):
        read_recipe(path)
    expected = Recipe(bits=4, keep_float=("größe*",), input_format=InputFormat())
    onnx.helper.set_model_props(proto, {"zqc.recipe": to_toml(expected)})
    onnx.save(proto, path)
    assert read_recipe(path) == expected
    onnx.helper.set_model_props(proto, {"zqc.recipe": "bit = 4"})
    onnx.save(proto, path)
    with pytest.raises(OptionError, match=r"the recipe in .*model\.onnx: unknown key 'bit'"):
        read_recipe(path)
