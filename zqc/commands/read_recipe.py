"""A recipe by the name of a preset, from a TOML file or from a compiled model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zqc.errors import OptionError
from zqc.files.inputs import input_path
from zqc.parsing.text import ParseError, read_text
from zqc.recipe.recipe import PRESETS, Recipe
from zqc.recipe.toml import METADATA_KEY, from_toml

if TYPE_CHECKING:
    from zqc.runtime.session import Runner


def read_recipe(source: str | Path) -> Recipe:
    """Return a recipe by the name of a preset, from a TOML file or from a compiled model.

    Args:
        source: A preset, the path of a compiled ``.onnx``, or the path of a TOML file.

    Raises:
        OptionError: It is none of them, or something in it cannot be used; the message names it.
        ModelError: The ``.onnx`` cannot be read.
    """
    if str(source) in PRESETS:
        return PRESETS[str(source)]
    path = input_path(source)
    if path.suffix == ".onnx":
        return _of_model(path)
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        known = ", ".join(PRESETS)
        raise OptionError(
            f"the recipe {path} does not exist; give the path of a TOML file or of a compiled "
            f"model, or a preset: {known}"
        ) from error
    except OSError as error:
        raise OptionError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    except ParseError as error:
        raise OptionError(
            f"the recipe {path} {error}; give a TOML file, or a compiled .onnx"
        ) from error
    return from_toml(text, where=str(path))


def recipe_in(runner: Runner) -> Recipe | None:
    """Return the recipe in a loaded model; None where there is none, or of another version.

    One that cannot be read is no reason not to run the model.
    """
    from zqc.model_io.model_file import METADATA_PREFIX

    metadata = runner.session.get_modelmeta().custom_metadata_map
    text = metadata.get(METADATA_PREFIX + METADATA_KEY)
    try:
        return None if text is None else from_toml(text, where="the recipe")
    except OptionError:
        return None


def _of_model(path: Path) -> Recipe:
    """The recipe that a compiled model was made with."""
    from zqc.model_io import onnx_file
    from zqc.model_io.model_file import METADATA_PREFIX

    key = METADATA_PREFIX + METADATA_KEY
    for entry in onnx_file.read(path).proto.metadata_props:
        if entry.key == key:
            return from_toml(entry.value, where=f"the recipe in {path}")
    raise OptionError(
        f"{path} holds no recipe (no {key} in its metadata); give a model that zqc has compiled"
    )
