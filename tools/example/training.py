"""Training within a time budget: AdamW, warm-up and cosine, averaged weights, checkpoints."""

import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn

from tools.example.loss import DetectionLoss
from tools.example.network import Detector
from tools.example.scenes import SIZE
from tools.example.store import Cache

WARM_UP = 0.02  # of the budget
SMALLEST_RATE = 0.01  # of the highest
EMA_DECAY, EMA_RAMP = 0.999, 500  # steps


@dataclass(frozen=True)
class Settings:
    """What a training run is asked for."""

    minutes: float
    seed: int = 0
    batch: int = 32
    rate: float = 3e-3
    weight_decay: float = 0.02
    threads: int = 2
    bfloat16: bool = True


@dataclass
class _Run:
    """The state that a checkpoint keeps."""

    model: Detector
    average: Detector
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    sums: Tensor = field(default_factory=lambda: torch.zeros(3))


def train(
    cache: Cache,
    checkpoint: Path,
    settings: Settings,
    *,
    start: Detector | None = None,
    every: float = 300.0,
) -> None:
    """Train until the budget is used up, going on from `checkpoint` where it exists.

    A new run begins with the weights of `start`, or else with random ones.
    The learning rate follows the share of the time that is used, so the number of steps depends
    on the machine. A checkpoint is written about every `every` seconds.
    """
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    run = _start(settings, start or Detector())
    if checkpoint.exists():
        _restore(run, checkpoint)
    loss_function = DetectionLoss(size=SIZE)
    budget = settings.minutes * 60
    choices = _choices(len(cache.labels), settings, run.step)
    next_save = run.seconds + every
    while run.seconds < budget:
        started = time.monotonic()
        rng = np.random.default_rng([settings.seed, run.step])
        images, boxes, labels = _batch(cache, next(choices), rng)
        for group in run.optimizer.param_groups:
            group["lr"] = settings.rate * _rate(run.seconds / budget)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            raw = run.model.raw(images)
        loss, parts = loss_function(raw, boxes, labels)
        run.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(run.model.parameters(), 10.0)
        run.optimizer.step()
        _follow(run)
        run.step += 1
        run.sums += parts
        run.seconds += time.monotonic() - started
        if run.step % 100 == 0:
            _print(run, settings)
        if run.seconds >= next_save or run.seconds >= budget:
            next_save = run.seconds + every
            _save(run, checkpoint)


def averaged_model(checkpoint: Path) -> Detector:
    """The averaged weights of a checkpoint, in evaluation mode."""
    if not checkpoint.exists():
        raise click.ClickException(f"{checkpoint} is missing: run `train` first")
    model = Detector()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    return model.eval()


def measure_statistics(model: Detector, cache: Cache, *, count: int, threads: int) -> None:
    """Replace the running statistics of every BatchNorm by those of `count` training scenes.

    Float32, no augmentation, the plain mean over all batches: averaged weights have no running
    statistics of their own.
    """
    torch.set_num_threads(threads)
    batch = 64
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # PyTorch's cumulative average
    model.train()
    with torch.no_grad():
        for first in range(0, count, batch):
            pixels = torch.from_numpy(np.array(cache.pixels[first : first + batch]))
            model.raw(_network_input(pixels.float() / 255))
    model.eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _start(settings: Settings, model: Detector) -> _Run:
    model = model.train().to(memory_format=torch.channels_last)
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim == 1]
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.99))
    return _Run(model, deepcopy(model).requires_grad_(False), optimizer)


def _choices(count: int, settings: Settings, step: int) -> Iterator[np.ndarray]:
    """The scenes of each step from `step` on: every pass shows all of them in a new order."""
    steps = count // settings.batch
    while True:
        order = np.random.default_rng([settings.seed, 1, step // steps]).permutation(count)
        for within in range(step % steps, steps):
            yield np.sort(order[within * settings.batch : (within + 1) * settings.batch])
            step += 1


def _batch(
    cache: Cache, chosen: np.ndarray, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Scenes as float pictures, half of them mirrored, in slightly different light."""
    pixels, boxes = np.array(cache.pixels[chosen]), cache.boxes[chosen].copy()
    mirrored = rng.random(len(chosen)) < 0.5
    pixels[mirrored] = pixels[mirrored, :, :, ::-1]
    boxes[mirrored] = boxes[mirrored][..., [2, 1, 0, 3]] * [-1, 1, -1, 1] + [SIZE, 0, SIZE, 0]
    light = rng.uniform(0.8, 1.2, (*pixels.shape[:2], 1, 1)).astype(np.float32)
    images = (torch.from_numpy(pixels).float() * (torch.from_numpy(light) / 255)).clamp(max=1)
    objects = torch.from_numpy(boxes.astype(np.float32))
    labels = torch.from_numpy(cache.labels[chosen])
    return _network_input(images), objects, labels


def _network_input(images: Tensor) -> Tensor:
    """One channel becomes three equal ones."""
    return images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _rate(used: float) -> float:
    if used < WARM_UP:
        return max(used / WARM_UP, 0.01)
    share = min((used - WARM_UP) / (1 - WARM_UP), 1.0)
    return SMALLEST_RATE + (1 - SMALLEST_RATE) * (1 + math.cos(math.pi * share)) / 2


@torch.no_grad()
def _follow(run: _Run) -> None:
    decay = EMA_DECAY * (1 - math.exp(-(run.step + 1) / EMA_RAMP))
    average, current = run.average.state_dict(), run.model.state_dict()
    floats = [name for name, value in average.items() if value.is_floating_point()]
    torch._foreach_lerp_([average[n] for n in floats], [current[n] for n in floats], 1 - decay)


def _print(run: _Run, settings: Settings) -> None:
    box, score, dfl = (run.sums / 100).tolist()
    run.sums.zero_()
    rate = run.optimizer.param_groups[0]["lr"]
    per_second = run.step * settings.batch / run.seconds
    click.echo(
        f"step {run.step}  {run.seconds / 60:.1f} min  {per_second:.0f} pictures/s  "
        f"rate {rate:.5f}  box {box:.3f}  class {score:.3f}  dfl {dfl:.3f}"
    )


def _save(run: _Run, checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    temporary = checkpoint.with_name(checkpoint.name + ".part")
    torch.save(
        {
            "model": run.model.state_dict(),
            "average": run.average.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "step": run.step,
            "seconds": run.seconds,
        },
        temporary,
    )
    temporary.replace(checkpoint)


def _restore(run: _Run, checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    run.model.load_state_dict(state["model"])
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.seconds = state["step"], state["seconds"]
