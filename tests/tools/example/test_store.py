"""What is written comes back."""

import json

import click
import numpy as np
import pytest

from tools.example import store
from tools.example.scenes import MOST_OBJECTS, NAMES, SIZE


def scene(index):
    """A scene of one grey level, with as many objects as its number."""
    boxes = np.arange(4 * index, dtype=np.float32).reshape(index, 4)
    return np.full((1, SIZE, SIZE), index, np.uint8), boxes, np.arange(index)


def test_a_cache_holds_the_scenes_in_order(tmp_path):
    """Pixels, boxes and labels by number; -1 where there is no object."""
    store.build_cache(tmp_path, scene, count=3, channels=1)
    cache = store.open_cache(tmp_path)
    assert cache.pixels[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert cache.labels[2].tolist() == [0, 1] + [-1] * (MOST_OBJECTS - 2)
    np.testing.assert_array_equal(cache.boxes[2, :2], scene(2)[1])


def test_no_cache_is_one_clear_error(tmp_path):
    """It says what to run first."""
    with pytest.raises(click.ClickException, match="holds no scenes: run `scenes` first"):
        store.open_cache(tmp_path)


def test_labels_have_the_format_of_coco(tmp_path):
    """Corners become corner and size; every class is named."""
    boxes = np.float32([[1, 2, 11, 32]])
    store.write_coco(tmp_path / "a.json", [{"id": 5}], [(boxes, np.array([3]))])
    content = json.loads((tmp_path / "a.json").read_text())
    (found,) = content["annotations"]
    assert (found["image_id"], found["category_id"]) == (5, 3)
    assert (found["bbox"], found["area"]) == ([1, 2, 10, 30], 300)
    assert [entry["name"] for entry in content["categories"]] == list(NAMES)
