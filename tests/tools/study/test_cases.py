"""The detectors that studies compare."""

from pathlib import Path

import zqc
from tools.study.cases import EXAMPLE, shared_cases


def test_the_example_is_there():
    """Its model, its pictures and its labels, under the name of its file."""
    assert EXAMPLE.name == "detector"
    assert EXAMPLE.model.is_file()
    assert EXAMPLE.pictures.is_dir()
    assert EXAMPLE.labels.is_file()


def test_a_recipe_has_what_the_model_needs():
    """Input format and size are the model's, everything else what is asked for."""
    *_, text = shared_cases(Path("models"), Path("pictures"))
    expected = zqc.Recipe(bits=4, input_format=text.input_format, input_shape=(320, 320))
    assert text.recipe(bits=4) == expected
    assert EXAMPLE.recipe() == zqc.Recipe(input_format=zqc.InputFormat())
