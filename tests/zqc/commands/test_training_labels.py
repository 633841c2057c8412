"""Labels of the user's pictures reach the training in pixels of the input."""

import json
from pathlib import Path

import pytest

from tests.zqc.commands.small_detectors import write_pictures
from tests.zqc.commands.test_labelled import PATCHES, detector
from zqc.commands.training_labels import weighing_labels, with_labels
from zqc.errors import OptionError
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import TUNED, Recipe

LABELS = Path("labels.json")


def test_boxes_lie_where_the_pictures_lie_in_the_input(tmp_path):
    """In an input of twice the width and four times the height, the picture lies between grey.

    A crowd is left out, what reaches beyond the picture ends with the input, and a picture that the
    labels do not list is not known.
    """
    folder = write_pictures(tmp_path / "pictures", PATCHES)
    pictures = open_images(folder, channels=3, height=512, width=256, input_format=InputFormat())
    box = {"image_id": 0, "category_id": 1, "iscrowd": 0}
    content = {
        "images": [{"id": i, "file_name": pictures.names[i]} for i in range(2)],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            box | {"id": 1, "bbox": [8, 4, 16, 20]},
            box | {"id": 2, "bbox": [0, 0, 60, 60], "iscrowd": 1},
            box | {"id": 3, "bbox": [100, 30, 60, 10]},
        ],
    }
    (tmp_path / "l.json").write_text(json.dumps(content))
    labelled = with_labels(pictures, tmp_path / "l.json", detector())
    assert labelled.source == f"{pictures.source}, 2 of them with labels"
    first, second, third = labelled.labels
    assert first.boxes.tolist() == [[16, 136, 48, 176], [200, 188, 256, 208]]
    assert first.classes.tolist() == [1, 1]
    assert len(second) == 0
    assert third is None


def test_labels_give_the_detectors_own_loss_a_weight():
    """Unless the recipe has one; what they would not be used for is refused."""
    assert weighing_labels(TUNED, None) is TUNED
    assert weighing_labels(TUNED, LABELS).loss_weights == {"detection": 0.1}
    own = Recipe(rounding="learned", loss_weights={"detection": 0.5, "heads": 0.1})
    assert weighing_labels(own, LABELS).loss_weights == own.loss_weights
    for recipe in (Recipe(), Recipe(rounding="learned", loss_weights={"detection": 0})):
        with pytest.raises(OptionError, match="would not be used"):
            weighing_labels(recipe, LABELS)
