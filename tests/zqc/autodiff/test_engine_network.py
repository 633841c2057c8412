"""A whole detector-like network against PyTorch's autograd."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.version_converter
import onnx_ir as ir
import onnxsim
import pytest
import torch
from onnx_ir.passes.common import LiftConstantsToInitializersPass
from torch import nn

from zqc.autodiff import engine
from zqc.runtime import session

if TYPE_CHECKING:
    from torch import Tensor


class ConvUnit(nn.Module):
    """Conv, BatchNorm with statistics that are not trivial, SiLU."""

    def __init__(self, i: int, o: int, kernel: int = 1, stride: int = 1, group: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=group, bias=False)
        self.norm = nn.BatchNorm2d(o)
        nn.init.kaiming_normal_(self.conv.weight)  # else all pixels come out almost equal
        nn.init.normal_(self.norm.running_mean, std=0.1)
        nn.init.uniform_(self.norm.running_var, 0.5, 1.5)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.normal_(self.norm.bias, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×O×H'×W'."""
        return nn.functional.silu(self.norm(self.conv(x)))


class C2f(nn.Module):
    """Split, bottlenecks with shortcut, concatenation (YOLOv8)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.entry = ConvUnit(width, width)
        self.first, self.second = ConvUnit(half, half, 3), ConvUnit(half, half, 3)
        self.exit = ConvUnit(3 * half, width)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to the same shape."""
        a, b = self.entry(x).chunk(2, 1)
        return self.exit(torch.cat([a, b, b + self.second(self.first(b))], 1))


class Detector(nn.Module):
    """Strided stem, C2f, depthwise, SPPF, an upsampling neck and a DFL head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 8, 3, 2), ConvUnit(8, 16, 3, 2), C2f(16))
        self.down = nn.Sequential(ConvUnit(16, 16, 3, 2, group=16), ConvUnit(16, 32))
        self.squeeze, self.fuse = ConvUnit(32, 16), ConvUnit(64, 32)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.halve = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2)
        self.neck = ConvUnit(48, 32, 3)
        self.boxes, self.scores = nn.Conv2d(32, 4 * 8, 1), nn.Conv2d(32, 5, 1)
        self.far = nn.ConvTranspose2d(32, 4, 2, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """N×3×H×W to boxes, scores and a map."""
        near = self.stem(x)
        low = self.squeeze(self.down(near))
        pools = [low]
        for _ in range(3):
            pools.append(self.pool(pools[-1]))
        deep = self.fuse(torch.cat(pools, 1))
        features = self.neck(torch.cat([self.up(deep), near], 1))
        n, _, h, w = features.shape
        bins = self.boxes(features).reshape(n, 4, 8, h * w).transpose(2, 1).softmax(1)
        distances = (bins * torch.arange(8.0).reshape(1, 8, 1, 1)).sum(1)
        far = self.far(self.halve(deep))
        return distances, self.scores(features).flatten(2).sigmoid(), far


def export(network: nn.Module, x: Tensor, opset: int) -> ir.Model:
    """Return the network with BatchNorm kept."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that keeps BatchNorm is the deprecated one
        torch.onnx.export(
            network,
            (x,),
            file,
            dynamo=False,
            opset_version=min(opset, 17),
            input_names=["x"],
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    proto, _ = onnxsim.simplify(
        onnx.load_from_string(file.getvalue()),
        skipped_optimizers=["fuse_bn_into_conv", "fuse_add_bias_into_conv"],
    )
    model = ir.from_proto(onnx.version_converter.convert_version(proto, opset))
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return model


@pytest.mark.parametrize(("wanted", "opset"), [("image", 13), ("weights", 17), ("image", 21)])
def test_gradients_of_a_detector_equal_pytorch(wanted: str, opset: int) -> None:
    """Gradients of a random projection of all outputs equal autograd's to 1e-4 of their maximum."""
    torch.manual_seed(0)
    network = Detector().eval()
    x = torch.rand(2, 3, 64, 64, requires_grad=True)
    model = export(network, x, opset)
    seeds = [torch.randn_like(y) for y in network(x)]
    sum((y * seed).sum() for y, seed in zip(network(x), seeds, strict=True)).backward()

    parameters = dict(network.named_parameters())
    names = ["x"] if wanted == "image" else list(parameters)
    expected = [x.grad if name == "x" else parameters[name].grad for name in names]
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    by_name = {value.name: value for value in values}
    loss = _project(model, [seed.numpy() for seed in seeds])
    gradients = engine.gradient(model, loss, [by_name[name] for name in names])
    model.graph.outputs[:] = gradients
    actual = session.load(model, threads=2)({"x": x.detach().numpy()})
    for value, reference in zip(gradients, expected, strict=True):
        scale = reference.abs().max().item()
        np.testing.assert_allclose(actual[value.name], reference, rtol=0, atol=1e-4 * scale)


def _project(model: ir.Model, seeds: list[np.ndarray]) -> ir.Value:
    terms = []
    for output, seed in zip(model.graph.outputs, seeds, strict=True):
        constant = ir.val(f"{output.name}_seed", const_value=ir.tensor(seed))
        model.graph.register_initializer(constant)
        product = ir.node("Mul", [output, constant])
        term = ir.node("ReduceSum", product.outputs, {"keepdims": 0})
        model.graph.extend([product, term])
        terms.append(term.outputs[0])
    total = ir.node("Sum", terms)
    model.graph.append(total)
    return total.outputs[0]
