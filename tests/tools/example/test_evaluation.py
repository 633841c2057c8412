"""The example's own average precision, beside that of the product."""

import json

import click
import pytest

import zqc
from tools.example.evaluation import evaluate
from tools.paths import DETECTOR, SCENES


@pytest.fixture
def labels(tmp_path):
    """The first twenty held-out scenes."""
    content = json.loads((SCENES / "heldout.json").read_text())
    content["images"] = content["images"][:20]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in ids]
    folder = tmp_path / "few"
    folder.mkdir()
    for image in content["images"]:
        (folder / image["file_name"]).symlink_to(SCENES / "heldout" / image["file_name"])
    path = tmp_path / "few.json"
    path.write_text(json.dumps(content))
    return path


def test_both_find_the_same(labels):
    """Two implementations of decoding and suppression differ by less than 0.002 in mAP."""
    found = evaluate(DETECTOR, labels)
    form = zqc.InputFormat()
    folder = labels.with_suffix("")
    checked = zqc.check(DETECTOR, DETECTOR, images=folder, labels=labels, input_format=form)
    assert found.mean == pytest.approx(checked.accuracy_float.ap, abs=0.002)
    assert found.mean > 0.5
    assert found.at_50 > found.mean


def test_what_is_missing_is_named(tmp_path):
    """The model or the labels, by path."""
    with pytest.raises(click.ClickException, match=r"no\.onnx is missing"):
        evaluate(tmp_path / "no.onnx", SCENES / "heldout.json")
