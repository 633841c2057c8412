"""A re-parameterised layer is the sum of branches with BatchNorm."""

import numpy as np
import torch

from zqc.statistics.files.weights import Weights
from zqc.statistics.merged_branches import Branches
from zqc.statistics.trained_layers import kernels_of, norms_of


class Branch(torch.nn.Module):
    """A convolution and its BatchNorm, as Ultralytics and YOLOv6 call them."""

    def __init__(self, inputs, size, groups=1):
        super().__init__()
        self.conv = torch.nn.Conv2d(inputs, 6, size, padding=size // 2, groups=groups, bias=False)
        self.bn = torch.nn.BatchNorm2d(6)


class Rep(torch.nn.Module):
    """3×3, 1×1 and, where asked for, the tensor itself; α as in PP-YOLOE."""

    def __init__(self, alpha=1.0, groups=1):
        super().__init__()
        self.conv1, self.conv2 = Branch(6, 3, groups), Branch(6, 1, groups)
        self.bn = torch.nn.BatchNorm2d(6)
        self.shared = alpha
        for tensor in self.parameters():
            tensor.data = torch.rand_like(tensor) + 0.5
        for norm in (self.conv1.bn, self.conv2.bn, self.bn):
            norm.running_mean, norm.running_var = torch.rand(6), torch.rand(6) + 0.5

    def forward(self, x):
        """Return the sum."""
        small = self.conv2.bn(self.conv2.conv(x))
        return self.conv1.bn(self.conv1.conv(x)) + self.shared * small + self.bn(x)

    def merged(self):
        """Kernel and bias, measured at unit impulses: independent of any folding."""
        with torch.no_grad():
            bias = self(torch.zeros(1, 6, 9, 9))[0, :, 4, 4]
            kernel = torch.zeros(6, 6, 3, 3)
            for channel in range(6):
                x = torch.zeros(1, 6, 9, 9)
                x[0, channel, 4, 4] = 1
                kernel[:, channel] = (self(x) - bias[:, None, None])[0, :, 3:6, 3:6].flip(1, 2)
        return kernel, bias


def found_in(net, groups=1):
    """What is found of the merged layer of a net."""
    arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    branches = Branches.of(norms_of(Weights(arrays)), kernels_of(Weights(arrays)))
    kernel, bias = net.merged()
    if groups > 1:
        width = 6 // groups
        blocks = [kernel[i, i // width * width :][:width] for i in range(6)]
        kernel = torch.stack(blocks)
    return branches.find("y", kernel.double().numpy(), bias.double().numpy())


def expected(net, alpha):
    """Mean and variance of a sum of independent terms."""
    parts = [(net.conv1.bn, 1.0), (net.conv2.bn, alpha), (net.bn, 1.0)]
    mean = sum(share * norm.bias.detach().numpy() for norm, share in parts)
    terms = [
        (share * norm.weight.detach().numpy()) ** 2
        * norm.running_var.numpy()
        / (norm.running_var.numpy() + norm.eps)
        for norm, share in parts
    ]
    return mean, np.sqrt(sum(terms))


def test_branches_of_every_kind():
    """Dense, grouped and depthwise ones, with a factor before the small one, in eval mode."""
    for alpha, groups in ((1.0, 1), (0.3, 1), (1.0, 2), (1.0, 6)):
        torch.manual_seed(0)
        net = Rep(alpha, groups).eval()
        found = found_in(net, groups)
        mean, deviation = expected(net, alpha)
        np.testing.assert_allclose(found.statistics.mean, mean, rtol=1e-3)
        np.testing.assert_allclose(found.statistics.deviation, deviation, rtol=1e-3)
        assert sorted(found.norms) == ["bn", "conv1.bn", "conv2.bn"]


def test_another_sum_is_none():
    """Other weights, and other biases with the same weights, are not found."""
    net = Rep().eval()
    arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    branches = Branches.of(norms_of(Weights(arrays)), kernels_of(Weights(arrays)))
    kernel, bias = (tensor.double().numpy() for tensor in net.merged())
    assert branches.find("y", kernel, bias) is not None
    assert branches.find("y", kernel, bias + 1) is None
    assert branches.find("y", kernel[::-1], bias) is None
    assert branches.find("y", kernel[:, :, 0], bias) is None
