"""Models through a file and back, and what they compute."""

import numpy as np

from zqc.model_io import model_file
from zqc.runtime import session

CONV_NORM = """
    conv = Conv <pads = [1, 1, 1, 1]> (x, weight)
    normed = BatchNormalization <epsilon = 0.0001> (conv, scale, bias, mean, variance)
"""
IMAGE = "net (float[N, 3, 8, 8] x) =>"


def save(proto, path):
    """Write a model as it is."""
    path.write_bytes(proto.SerializeToString())
    return path


def load(proto, tmp_path, **options):
    """Take a model through a file."""
    return model_file.load(save(proto, tmp_path / "model.onnx"), **options)


def outputs(model, feed):
    """Run a model, every node as it is written."""
    runner = session.load(model, threads=1, optimize=False)
    return runner({runner.session.get_inputs()[0].name: feed})


def assert_same_values(source, expected, rng, *, batches=(1, 4), tolerance=1e-4):
    """Compare a loaded model with the file it came from on ONNX Runtime."""
    _, *picture = source.model.graph.inputs[0].shape
    for batch in batches:
        feed = rng.normal(size=(batch, *picture)).astype(np.float32)
        reference = outputs(expected, feed)
        loaded = outputs(source.model, feed)
        assert list(loaded) == list(reference)
        for name, value in reference.items():
            np.testing.assert_allclose(loaded[name], value, rtol=0, atol=tolerance)


def operators(model):
    """Operator types in graph order."""
    return [node.op_type for node in model.graph]
