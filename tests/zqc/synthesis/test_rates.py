"""Step sizes are those of PyTorch's optimisers and schedulers."""

import math

import numpy as np
import pytest
import torch

from zqc.synthesis.rates import cosine, reduced_on_plateaus, scalars


def moved(optimizer, slopes, rate, scale):
    """Where a pixel goes, starting at 0, when slopes that are scaled up go through the step."""
    pixel, first, second, path = 0.0, 0.0, 0.0, []
    for iteration, slope in enumerate(slopes):
        given = {name: float(v) for name, v in scalars(optimizer, rate, iteration, scale).items()}
        first = 0.9 * first + 0.1 * slope * scale
        second = 0.999 * second + 0.001 * (slope * scale) ** 2
        root = math.sqrt(second * given["second_correction"])
        pixel -= given["step_size"] * first / (root + given["floor"])
        path.append(pixel)
    return path


@pytest.mark.parametrize(
    ("name", "reference"), [("adam", torch.optim.Adam), ("radam", torch.optim.RAdam)]
)
def test_steps_are_those_of_pytorch(rng, name, reference):
    """Adam and RAdam, over twelve steps, slopes scaled up a thousandfold on our side (1e-5)."""
    slopes = rng.normal(size=12)
    pixel = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer, expected = reference([pixel], lr=0.1), []
    for slope in slopes:
        pixel.grad = torch.tensor([slope], dtype=torch.float64)
        optimizer.step()
        expected.append(pixel.item())
    np.testing.assert_allclose(moved(name, slopes, 0.1, 1e3), expected, rtol=1e-5)


def test_a_cosine_ends_at_zero():
    """The rates are those of PyTorch's CosineAnnealingLR (1e-9)."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    for iteration in range(20):
        assert cosine(0.3, 20, iteration) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        scheduler.step()
    assert cosine(0.3, 20, 20) == pytest.approx(0)


def test_plateaus_halve_the_rate(rng):
    """As PyTorch's ReduceLROnPlateau whose best loss is forgotten after each reduction."""
    losses = np.abs(np.linspace(2, 0.5, 80) + rng.normal(0, 0.3, 80))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=16.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=1e-4, min_lr=1e-4
    )
    rates = set()
    for done in range(len(losses)):
        rate = optimizer.param_groups[0]["lr"]
        assert reduced_on_plateaus(16.0, 100, losses[:done]) == pytest.approx(rate)
        scheduler.step(losses[done])
        if optimizer.param_groups[0]["lr"] < rate:
            scheduler.best = math.inf
        rates.add(rate)
    assert len(rates) > 3
