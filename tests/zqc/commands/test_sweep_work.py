"""One recipe of a sweep; that all of them make what they should, ``test_sweep`` proves."""

import numpy as np
import onnx
import pytest

from tests import nets
from zqc.commands.sweep_work import Judge, Work, run_one
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe
from zqc.recipe.variations import variations

OPTIONS = {"anchors": None, "decoder": None, "threads": 1}


@pytest.fixture
def work(tmp_path):
    """A recipe, and what it is judged on."""
    rng = np.random.default_rng(3)
    tensors = rng.uniform(0, 1, (2, 3, 16, 16)).astype("f4")
    (one,) = variations(Recipe(input_format=InputFormat(), equalization="none"), {"bits": (8,)})
    options = OPTIONS | {"images": tensors}
    return Judge(tensors, None, ""), Work(one, tmp_path / "out.onnx", options, size=1000)


def test_the_content_comes_along_where_there_is_no_file(work, tmp_path):
    """From a machine that has none of the model; else the file is written where it is made."""
    proto = nets.detector()
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    sent, here = run_one(proto, *work), None
    assert not work[1].output.exists()
    here = run_one(path, *work)
    assert here.content == b""
    assert work[1].output.read_bytes() == sent.content
    assert (sent.run.sha256, sent.run.size) == (here.run.sha256, len(sent.content) / 1000)


def test_what_is_wrong_with_the_pictures_is_wrong_with_the_run(work):
    """It is told, and no other recipe suffers."""
    judge, one = work
    ended = run_one(nets.detector(), Judge(judge.images[:, :2], None, ""), one)
    assert "2 x 16 x 16" in ended.run.error or "x 2 x" in ended.run.error
    assert ended.run.output is None
