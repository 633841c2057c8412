"""The networks that are written in the zoo itself; the others need their packages."""

import pytest
import torch

from tools.zoo.registry import PLAIN

CELLS = 64 + 16 + 4  # of a picture of 64 x 64, at strides 8, 16 and 32
SHAPES = {
    "yolox": [(2, CELLS, 15)],
    "rtmdet": [(2, CELLS, 4), (2, CELLS, 10)],
    "nanodet": [(2, CELLS + 1, 42)],
    "centernet": [(2, 10, 16, 16), (2, 2, 16, 16), (2, 2, 16, 16)],
    "pp-yoloe": [(2, CELLS, 4), (2, 10, CELLS)],
}


@pytest.mark.parametrize("network", PLAIN, ids=lambda network: network.name)
def test_outputs_have_the_shapes_of_the_original(network):
    """A row for each cell, or maps of a quarter of the size, and a name for each output."""
    model = network.deploy(network.build()).eval()
    with torch.no_grad():
        found = model(torch.rand(2, 3, 64, 64))
    outputs = (found,) if isinstance(found, torch.Tensor) else found
    assert [tuple(output.shape) for output in outputs] == SHAPES[network.name]
    assert len(network.outputs) == len(outputs)
