"""One step of the synthesis in PyTorch."""

import numpy as np
import torch

from tests.zqc.synthesis import small_nets
from tools.reference.torch_synthesis import TorchSynthesis
from zqc.statistics.batchnorm import harvest


def test_with_batchnorm_folded_it_is_the_same_step(rng):
    """Losses and gradients of both graphs agree to 1e-5, and Adam lowers the loss."""
    model = small_nets.net(rng)
    layers, pictures = harvest(model), rng.uniform(0, 1, (4, *small_nets.PICTURE))
    sides = [
        TorchSynthesis(model, layers, pictures, folded=folded, dtype=torch.float64, rate=0.01)
        for folded in (False, True)
    ]
    kept, folded = ([side.step() for _ in range(5)] for side in sides)
    np.testing.assert_allclose(folded, kept, rtol=1e-5)
    assert kept[-1] < kept[0]
    np.testing.assert_allclose(sides[1].gradient, sides[0].gradient, atol=1e-5)
    assert sides[0].pictures.min() >= 0
    assert sides[0].pictures.max() <= 1
