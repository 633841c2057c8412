"""Thermal twins have the objects of their scenes."""

import json

import numpy as np
from PIL import Image

from tests.tools.example.toys import discs
from tools.example.scenes import SIZE, make_layout
from tools.example.thermal import make_picture, write_labelled


def test_objects_are_warmer_than_their_surroundings():
    """They are at the places of the visible scene, and on average brighter than the rest."""
    warmer = []
    for index in range(20):
        picture, layout = make_picture(discs(), 0, index)
        assert picture.shape == (SIZE, SIZE)
        np.testing.assert_array_equal(layout.boxes, make_layout(discs(), 0, index).boxes)
        inside = np.zeros((SIZE, SIZE), bool)
        for one in layout.objects:
            inside[one.area] |= one.alpha > 0.5
        warmer.append(picture[inside].mean() > picture[~inside].mean())
    assert np.mean(warmer) > 0.8


def test_pictures_and_labels_are_written(tmp_path):
    """Grey PNG files in the folder, COCO's labels beside it."""
    write_labelled(discs(), tmp_path / "heldout", count=2, seed=0)
    labels = json.loads((tmp_path / "heldout.json").read_text())
    assert [image["file_name"] for image in labels["images"]] == ["0000.png", "0001.png"]
    with Image.open(tmp_path / "heldout" / "0001.png") as picture:
        assert (picture.mode, picture.size) == ("L", (SIZE, SIZE))
    expected = make_picture(discs(), 0, 1)[1]
    found = [a for a in labels["annotations"] if a["image_id"] == 1]
    assert [a["category_id"] for a in found] == expected.labels.tolist()
