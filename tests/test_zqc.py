"""Paths of the Python interface may be strings."""

from pathlib import Path

import numpy as np

import zqc
from zqc.commands import inputs

TINY = zqc.Recipe(samples=2, effort="quick", input_format=zqc.InputFormat())


def test_every_function_takes_strings(detector_file, tmp_path, rng, monkeypatch):
    """A model is compiled, checked, timed and described with nothing but strings for paths."""
    monkeypatch.setattr(inputs, "_EFFORTS", {"quick": (2, 1)})
    model, images = str(detector_file), str(tmp_path / "pictures.npz")
    np.savez(images, images=rng.uniform(0, 1, (3, 3, 16, 16)).astype(np.float32))
    made, card = str(tmp_path / "made.onnx"), str(tmp_path / "card.json")
    given = {"images": images, "input_format": zqc.InputFormat()}
    compiled = zqc.compile(model, made, recipe=TINY, images=images)
    assert compiled.output == Path(made)
    assert zqc.check(model, made, **given).images == 3
    assert zqc.bench(model, made, runs=1, **given).quantized.path == Path(made)
    zqc.stats(model, card, allow_few=True, **given)
    zqc.synthesize(model, str(tmp_path / "made"), recipe=TINY, statistics=card)
    assert (tmp_path / "made" / "pictures.npz").exists()
