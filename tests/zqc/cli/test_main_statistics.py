"""Statistics from a checkpoint, on the command line."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from passes import FoldBatchNorm
from tests.zqc.statistics.files import hostile
from zqc.model_io import model_file

FAST = ["--effort", "quick", "--samples", "4", "--threads", "1", "--input-range=0:1"]


@pytest.fixture
def folded_file(detector_file, tmp_path):
    """The detector without BatchNorm."""
    model = model_file.load(detector_file).model
    FoldBatchNorm()(model)
    path = tmp_path / "folded.onnx"
    model_file.save(model, path, metadata={})
    return path


@pytest.fixture
def checkpoint(detector_file, tmp_path):
    """Its state dict as PyTorch saves it, in float16 as Ultralytics does."""
    arrays = {
        each.name: numpy_helper.to_array(each)
        for each in onnx.load(detector_file).graph.initializer
    }
    members = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
    state = {"model.0.weight": arrays["stem_weight"]}
    state |= {f"model.1.{key}": arrays[name] for key, name in members.items()}
    halves = {name: torch.tensor(np.array(array)).half() for name, array in state.items()}
    path = tmp_path / "model.pt"
    torch.save({"ema": halves, "epoch": 1}, path)
    return path


def test_compile(zqc, folded_file, checkpoint):
    """The checkpoint is all that it takes, and it is counted what was found."""
    code, out, err = zqc("compile", folded_file, "--statistics", checkpoint, *FAST)
    assert code == 0, err
    assert f"synthesised from 1 of 1 BatchNorm layers of {checkpoint}" in " ".join(out.split())


def test_synthesize(zqc, folded_file, checkpoint, tmp_path):
    """Pictures can be made from it alone."""
    out = tmp_path / "pictures"
    code, _, err = zqc("synthesize", folded_file, "--statistics", checkpoint, "-o", out, *FAST)
    assert code == 0, err


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_hostile_files(zqc, folded_file, tmp_path, form):
    """Each ends in one message on standard error, runs nothing and writes nothing."""
    mark, path = tmp_path / "mark", tmp_path / "model.pt"
    wrap = {"zip": hostile.archive, "legacy": hostile.legacy, "bare": bytes}[form]
    before = set(tmp_path.iterdir()) | {path}
    for name, (content, _) in hostile.attacks(mark).items():
        path.write_bytes(wrap(content))
        code, out, err = zqc("compile", folded_file, "--statistics", path, *FAST)
        said = [line for line in err.splitlines() if str(path) in line]
        assert code != 0, name
        assert out == "", name
        assert len(said) == 1, (name, err)
        assert "Traceback" not in err, name
        assert set(tmp_path.iterdir()) == before, name


def test_harmless_tricks(zqc, folded_file, tmp_path):
    """What can be read but is no network is said to have no BatchNorm."""
    mark, path = tmp_path / "mark", tmp_path / "model.pt"
    for name, content in hostile.harmless(mark).items():
        path.write_bytes(hostile.archive(content))
        code, _, err = zqc("compile", folded_file, "--statistics", path, *FAST)
        assert code != 0, name
        assert "no running means and variances" in " ".join(err.split()), name
    assert not mark.exists()
