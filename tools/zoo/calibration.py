"""Weights that are random but carry a signal, and the BatchNorm statistics that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

FAINT = 0.3
"""Standard deviation below which an output is made larger: fresh heads start near zero."""

DEAD = 1e-6
"""Standard deviation below which weights are taken for zeros and drawn anew."""

RARE = (-2.0, 2.0)
"""Bias and deviation of scores before their sigmoid: few objects, and some of them likely."""

Run = Callable[[], object]


def strengthen(model: nn.Module, run: Run) -> int:
    """Scale the weights of layers whose outputs hardly differ, until they deviate by 1.

    Heads are initialised so that all scores begin near one value and all boxes near another, which
    tells nothing about a quantized one. Layers are taken in the order in which `run` calls them,
    each once, with what is before it scaled already (Mishkin and Matas, All you need is a good
    init, ICLR 2016, without their orthogonal start). What has the bias of a rare class is a score:
    it gets the bias and the deviation of RARE. Returns the number of layers scaled.
    """
    seen: set[nn.Module] = set()
    scaled = []

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if layer in seen:
            return None
        seen.add(layer)
        deviation = _deviation(output, channel=1 if isinstance(layer, nn.Conv2d) else -1)
        rare = layer.bias is not None and float(layer.bias.mean()) < RARE[0]
        if deviation >= FAINT and not rare:
            return None
        scaled.append(layer)
        if deviation < DEAD:
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
        else:
            layer.weight *= (RARE[1] if rare else 1.0) / deviation
        if rare:
            layer.bias.fill_(RARE[0])
        return layer.forward(*inputs)

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(hook) for layer in layers]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return len(scaled)


def calm(model: nn.Module) -> int:
    """Shift what fresh norms hand on, so that activations behind them are nearly linear.

    A random network with BatchNorm and ReLU is chaotic: the relative noise of its input grows by
    about 1.7 dB in every layer (Yang et al., A Mean Field Theory of Batch Normalization, ICLR 2019,
    section 3), so that deep ones have 5 dB left of 40, which no trained one does. With values one
    deviation above zero, few are cut off. Returns the number of norms shifted.
    """
    fresh = [
        module
        for module in model.modules()
        if hasattr(module, "running_mean") and not module.bias.any()
    ]
    with torch.no_grad():
        for norm in fresh:
            norm.bias.fill_(1.0)
    return len(fresh)


def measure_statistics(model: nn.Module, runs: Iterator[Run]) -> None:
    """Set the running statistics of every BatchNorm, frozen ones included, to those of all runs."""
    with thawed(model), torch.no_grad():
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        modes = {module: module.training for module in model.modules()}
        momenta = {norm: norm.momentum for norm in norms}
        model.eval()
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # the average of all batches
        for run in runs:
            run()
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for module, training in modes.items():
            module.training = training


@contextmanager
def thawed(model: nn.Module) -> Iterator[None]:
    """Put a BatchNorm in the place of each frozen one, and its statistics back at the end."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if hasattr(child, "running_mean") and not isinstance(child, nn.BatchNorm2d)
    ]
    for parent, name, frozen in found:
        norm = nn.BatchNorm2d(len(frozen.running_mean), eps=getattr(frozen, "eps", 1e-5))
        norm.weight.data.copy_(frozen.weight)
        norm.bias.data.copy_(frozen.bias)
        setattr(parent, name, norm)
    yield
    for parent, name, frozen in found:
        norm = getattr(parent, name)
        frozen.running_mean.copy_(norm.running_mean)
        frozen.running_var.copy_(norm.running_var)
        setattr(parent, name, frozen)


def _deviation(output: Tensor, *, channel: int) -> float:
    """Root mean square of the deviations from the mean of each channel."""
    by_channel = output.movedim(channel, 0).flatten(1)
    return float((by_channel - by_channel.mean(dim=1, keepdim=True)).square().mean().sqrt())
