"""The ways in which users write a network to ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tools.zoo.network import Network


def torchscript(module: nn.Module, example: Tensor, path: Path, outputs: tuple[str, ...]) -> None:
    """Trace it; BatchNorm stays, for nothing is folded and the module's own mode is kept."""
    torch.onnx.export(
        module,
        (example,),
        str(path),
        dynamo=False,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        input_names=["images"],
        output_names=list(outputs),
    )


def dynamo(module: nn.Module, example: Tensor, path: Path, outputs: tuple[str, ...]) -> None:
    """Capture it with torch.export, as PyTorch does by default now."""
    _dynamo(module, example, path, outputs, optimize=True)


def dynamo_plain(module: nn.Module, example: Tensor, path: Path, outputs: tuple[str, ...]) -> None:
    """The same as its decompositions write it, before the exporter's own simplification."""
    _dynamo(module, example, path, outputs, optimize=False)


def fused(module: nn.Module, example: Tensor, path: Path, outputs: tuple[str, ...]) -> None:
    """Trace it as most do: BatchNorm disappears in the convolutions before it."""
    torch.onnx.export(
        module,
        (example,),
        str(path),
        dynamo=False,
        input_names=["images"],
        output_names=list(outputs),
    )


Export = Callable[[nn.Module, Tensor, Path, tuple[str, ...]], None]

EXPORTS: dict[str, Export] = {
    "torchscript": torchscript,
    "dynamo": dynamo,
    "dynamo-plain": dynamo_plain,
    "fused": fused,
}


def write(network: Network, model: nn.Module, name: str, path: Path, example: Tensor) -> None:
    """Write a network, in eval mode, in one of the ways; `fused` is that of its package.

    Args:
        network: What it is.
        model: It with its weights; it may be spoilt by the export of its package.
        name: Of the way.
        path: The file to write.
        example: A batch of one picture.
    """
    model.eval()
    if name == "fused" and network.ships is not None:
        network.ships(model, path, network.size)
        return
    deploy, outputs = network.deploy, network.outputs
    if name.startswith("dynamo") and network.captured is not None:
        deploy, outputs = network.captured
    with torch.no_grad():
        EXPORTS[name](deploy(model).eval(), example, path, outputs)


def _dynamo(
    module: nn.Module, example: Tensor, path: Path, outputs: tuple[str, ...], *, optimize: bool
) -> None:
    torch.onnx.export(
        module,
        (example,),
        str(path),
        dynamo=True,
        optimize=optimize,
        external_data=False,
        verbose=False,
        input_names=["images"],
        output_names=list(outputs),
    )
