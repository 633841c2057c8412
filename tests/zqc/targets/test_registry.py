"""Targets by name: zqc's own and those of other packages; what is broken is one clear error."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from zqc import targets
from zqc.errors import OptionError
from zqc.recipe.recipe import Recipe
from zqc.targets import Target, registry

MINE = Target(name="mine", summary="mine", guarantees=(), lowering=lambda recipe: ())
OTHER = Target(name="other", summary="other", guarantees=(), lowering=lambda recipe: ())
NO_TARGET = "a text"


@pytest.fixture
def added(monkeypatch):
    """Let other packages bring targets along, by name and object."""

    def add(**entries):
        found = [EntryPoint(name, value, targets.GROUP) for name, value in entries.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)

    return add


@pytest.mark.parametrize("name", targets.BUILT_IN)
def test_zqcs_own(name):
    """Each is found by its name, says what it guarantees, and has passes."""
    target = targets.find(name)
    assert target.name == name
    assert target.summary
    assert all(sentence.endswith(".") for sentence in target.guarantees)
    assert target.guarantees
    assert target.lowering(None)


def test_names_are_known_without_loading():
    """Neither a recipe nor a list of names imports a pass."""
    script = (
        "import sys; from zqc import targets; from zqc.recipe.recipe import Recipe; "
        "targets.names();"
        "Recipe(target='tensorrt'); print('onnx_ir' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "False"


def test_a_misspelt_name_gets_a_hint():
    """The nearest name is proposed, and all are listed."""
    with pytest.raises(OptionError, match=r"'ort-x68', but did you mean ort-x86\? must be one of"):
        targets.find("ort-x68")
    with pytest.raises(OptionError, match=r"'zzz', but must be one of ort-x86, .*vitisai"):
        Recipe(target="zzz")


def test_a_target_of_another_package(added):
    """It is found by the name of its entry point and listed behind zqc's own."""
    added(mine=f"{__name__}:MINE")
    assert targets.names() == (*targets.BUILT_IN, "mine")
    assert targets.find("mine") is MINE
    assert Recipe(target="mine").target == "mine"


def test_zqcs_own_cannot_be_replaced(added):
    """Another package's target of the same name is not used."""
    added(portable=f"{__name__}:MINE")
    assert targets.names() == targets.BUILT_IN
    assert targets.find("portable") is not MINE


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:X", "'mine' cannot be used: no_such_module:X fails with ModuleNotFound"),
        (f"{__name__}:NOWHERE", "fails with AttributeError"),
        (f"{__name__}:NO_TARGET", "is a str, not a zqc.targets.Target"),
        (f"{__name__}:OTHER", "calls itself 'other'; give both the same name"),
    ],
)
def test_a_broken_target_is_one_clear_error(added, zqc, value, words):
    """Its name, its object and what is wrong are said, by the library and by the command line."""
    added(mine=value)
    with pytest.raises(OptionError, match=words):
        targets.find("mine")
    for arguments in (["targets"], ["compile", "x.onnx", "--target", "mine"]):
        code, out, err = zqc(*arguments)
        assert (code, out) == (1, "")
        assert err.splitlines()[-1].startswith("Error: the target 'mine' cannot be used: ")
        assert sum(line.startswith("Error: ") for line in err.splitlines()) == 1
