"""Weights and BatchNorm statistics of networks that nobody has trained."""

from functools import partial

import pytest
import torch
from torch import nn

from tools.zoo.calibration import RARE, calm, measure_statistics, strengthen


class Frozen(nn.Module):
    """BatchNorm as torchvision and transformers freeze it."""

    def __init__(self, channels):
        super().__init__()
        for name, value in (("weight", 2.0), ("bias", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, grid):
        """Normalise with the statistics as they are."""
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return grid * scale[:, None, None] + shift[:, None, None]


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, Frozen])
def test_statistics_are_those_of_all_batches(kind):
    """Mean and variance over two batches of one size, also of a norm that is frozen."""
    torch.manual_seed(0)
    model = nn.Sequential(kind(3)).eval()
    batches = [3 * torch.randn(8, 3, 16, 16) + 5 + shift for shift in (0, 0.1)]
    measure_statistics(model, iter([lambda each=each: model(each) for each in batches]))
    pixels = torch.cat(batches).transpose(0, 1).flatten(1)
    assert isinstance(model[0], kind)
    assert not model.training
    torch.testing.assert_close(model[0].running_mean, pixels.mean(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model[0].running_var, pixels.var(1), rtol=1e-2, atol=0)


def test_faint_layers_become_strong():
    """Outputs that hardly differ deviate by 1, those of rare classes by more; others stay."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(8, 8, 1) for _ in range(4)))
    nn.init.normal_(model[0].weight, std=0.35)
    nn.init.normal_(model[1].weight, std=0.001)
    nn.init.zeros_(model[2].weight)
    nn.init.constant_(model[3].bias, -4.6)
    kept = model[0].weight.clone()
    pictures = torch.randn(4, 8, 16, 16)
    with torch.no_grad():
        assert strengthen(model, lambda: model(pictures)) == 3
        outputs = [model[: count + 1](pictures) for count in range(4)]
    deviations = [output.transpose(0, 1).flatten(1).std(dim=1) for output in outputs]
    rms = [deviation.square().mean().sqrt().item() for deviation in deviations]
    assert torch.equal(model[0].weight, kept)
    assert rms[1] == pytest.approx(1, rel=1e-3)
    assert 0.3 < rms[2] < 3
    assert rms[3] == pytest.approx(RARE[1], rel=1e-3)
    assert (model[3].bias == RARE[0]).all()


def test_a_calm_network_keeps_a_signal_above_noise():
    """Twenty random layers take a signal 40 dB above noise below 15 dB, calm ones leave 25."""
    left = {}
    for calmed in (False, True):
        torch.manual_seed(0)
        layers = [
            part
            for _ in range(20)
            for part in (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        ]
        model = nn.Sequential(*layers).eval()
        pictures = torch.randn(8, 16, 16, 16)
        if calmed:
            assert calm(model) == 20
        measure_statistics(model, iter([partial(model, pictures)]))
        with torch.no_grad():
            clean = model(pictures)
            noise = model(pictures + 0.01 * torch.randn_like(pictures)) - clean
        clean = clean - clean.mean(dim=(0, 2, 3), keepdim=True)
        left[calmed] = 10 * (clean.square().mean() / noise.square().mean()).log10().item()
    assert left[False] < 15
    assert left[True] > 25
