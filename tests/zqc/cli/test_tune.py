"""The command ``zqc tune``: options become the recipe, and what does not go together is told."""

import pytest

from zqc.commands import tune as module
from zqc.errors import OptionError
from zqc.recipe.recipe import TUNED, Recipe


@pytest.fixture
def recipe_of(zqc, monkeypatch):
    """What the library gets from a command line."""

    def seen(*options):
        calls = []

        def record(*_, **options):
            calls.append(options)
            raise OptionError("enough")

        monkeypatch.setattr(module, "tune_model", record)
        assert zqc("tune", "model.onnx", *options)[0] == 1
        return calls[0]

    return seen


def test_without_options_it_is_the_thorough_effort(recipe_of):
    """And with some, they count."""
    assert recipe_of()["recipe"] == TUNED
    line = (
        "--bits 4 --act-bits 4 --loss-weights detection=0.1,heads=0.3 --pictures-seen 500 "
        "--rate 0.004 --ema --effort standard --task-specific"
    )
    assert recipe_of(*line.split())["recipe"] == Recipe(
        bits=4,
        act_bits=4,
        rounding="learned",
        loss_weights={"detection": 0.1, "heads": 0.3},
        pictures_seen=500,
        rate=0.004,
        ema=True,
        effort="standard",
        task_specific=True,
    )


def test_labels_need_their_pictures(zqc):
    """As they name them."""
    code, _, err = zqc("tune", "model.onnx", "--labels", "labels.json")
    assert code == 1
    assert "--labels are those of --images" in err


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("detection", "write NAME=WEIGHT"),
        ("speed=1", "no term of the loss; they are features, agreement"),
        ("detektion=1", "did you mean 'detection'?"),
        ("heads=-1", "must give a number from 0 to 1,000,000"),
        ("heads=1e300", "must give a number from 0 to 1,000,000"),
        ("heads=1,heads=2", "has heads twice"),
        ("features=0", "leaves out the features"),
    ],
)
def test_weights_that_mean_nothing(zqc, weights, said):
    """One line says what would."""
    code, _, err = zqc("tune", "model.onnx", "--loss-weights", weights)
    assert code in (1, 2)
    assert said in " ".join(err.split())
