"""BatchNorm layers of a file: as PyTorch computes them."""

import numpy as np
import torch

from zqc.statistics.files.weights import Weights
from zqc.statistics.trained_layers import USUAL_EPS, damaged_norms, kernels_of, norms_of


def arrays_of(module):
    """Its state dict as numpy arrays."""
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def module(**options):
    """A convolution and a BatchNorm with statistics."""
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(4, **options).eval()
    for tensor in (norm.running_mean, norm.running_var, *norm.parameters()):
        tensor.data = torch.rand(4) + 0.5
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), norm).eval()


def test_folding_and_statistics():
    """Factor and bias fold the layer; mean and deviation are those of its output."""
    net = module(eps=0.1)
    weights = Weights(arrays_of(net), {"1": 0.1})
    ((norm,), (kernel,)) = norms_of(weights), kernels_of(weights)
    assert (norm.name, kernel.name, norm.possible_eps) == ("1", "0", (0.1,))
    x = torch.randn(2, 3, 5, 5)
    scale = norm.factor(0.1)[:, None, None, None]
    folded = torch.nn.functional.conv2d(
        x,
        torch.tensor(kernel.weight * scale).float(),
        torch.tensor(norm.bias(0.1, kernel.bias)).float(),
    )
    np.testing.assert_allclose(folded.numpy(), net(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    found = norm.statistics("y", 0.1)
    # What the layer makes of inputs with the mean and the variance that it keeps.
    unit = torch.randn(50_000, 4).double()
    unit = (unit - unit.mean(0)) / unit.std(0, correction=0)
    inputs = unit * net[1].running_var.sqrt() + net[1].running_mean
    outputs = net[1].double()(inputs[:, :, None, None]).detach().numpy()[:, :, 0, 0]
    np.testing.assert_allclose(found.mean, outputs.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.deviation, outputs.std(0), rtol=1e-6)


def test_layers_without_parameters_or_names():
    """γ and β are 1 and 0 where there are none; a BatchNorm alone has the empty name."""
    plain = torch.nn.BatchNorm2d(3, affine=False)
    (norm,) = norms_of(Weights(arrays_of(plain)))
    assert (norm.name, norm.possible_eps) == ("", USUAL_EPS)
    np.testing.assert_array_equal(norm.scale, 1)
    np.testing.assert_array_equal(norm.shift, 0)


def test_what_is_no_statistics():
    """Variances below 0, numbers that are not finite and shapes that differ are damaged."""
    mean = np.zeros(2)
    for variance in (np.array([1, -1e-3]), np.array([1, np.nan]), np.ones(3)):
        weights = Weights({"a.running_mean": mean, "a.running_var": variance})
        assert norms_of(weights) == ()
        assert damaged_norms(weights, ()) == ("a",)
    sound = Weights({"a.running_mean": mean, "a.running_var": np.ones(2)})
    assert damaged_norms(sound, norms_of(sound)) == ()
