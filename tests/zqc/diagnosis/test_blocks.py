"""Layers that compute several columns at a time, read as they were."""

import numpy as np

from passes.analysis.topology import weighted_layers
from passes.layers import layer_of
from tests.passes.helpers import build_model
from zqc.diagnosis.blocks import Columns


def layer(weight, pads=(1, 1, 1, 1)):
    """A convolution of stride 2."""
    text = f"""(float[1,3,8,8] x) => (float[1,4,4,4] y) {{
        y = Conv<strides=[2,2], pads={list(pads)}>(x, w)
    }}"""
    return layer_of(weighted_layers(build_model(text, w=weight).graph)[0])


def test_a_weight_comes_back(rng):
    """What is written on blocks is read as it was: 4 columns in, 2 out, 2 blocks wide."""
    weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    columns = Columns(kernel=3, inputs=4, outputs=2, before=1)
    grouped = columns.grouped(weight, 2)
    assert grouped.shape == (8, 12, 3, 2)
    np.testing.assert_array_equal(columns.plain(grouped, 4, 3), weight)


def test_blocks_are_recognised_by_their_shape(rng):
    """Another number of channels is none."""
    weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    assert Columns.of(layer(weight), np.zeros((8, 12, 3, 2))) == Columns(3, 4, 2, 1)
    assert Columns.of(layer(weight), np.zeros((7, 12, 3, 2))) is None
    assert Columns.of(layer(weight), np.zeros((4, 3, 3, 3))) is None


def test_an_output_comes_back():
    """Columns stand beside each other again."""
    picture = np.arange(2 * 3 * 4).reshape(1, 2, 3, 4)
    grouped = picture.reshape(1, 2, 3, 2, 2).transpose(0, 4, 1, 2, 3).reshape(1, 4, 3, 2)
    np.testing.assert_array_equal(Columns(3, 4, 2, 1).plain_output(grouped), picture)
