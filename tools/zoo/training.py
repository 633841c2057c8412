"""A short training: long enough that scores and boxes mean something."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from tools.zoo.network import Network
from tools.zoo.pictures import Scenes, augmented

BATCH = 8
RATE = 5e-4
WARM_UP = 0.05  # of the time, in which the rate rises
LARGEST_GRADIENT = 10.0


def train(network: Network, model: nn.Module, scenes: Scenes, *, minutes: float, seed: int) -> None:
    """Minimise the network's own loss on augmented scenes for some minutes with AdamW."""
    assert network.loss is not None
    rng = np.random.default_rng(seed)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=1e-4)
    model.train()
    start, step = time.monotonic(), 0
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (done + 1e-3) / WARM_UP) * (1 - done)
        indices = rng.choice(len(scenes.boxes), BATCH, replace=False).tolist()
        pictures, objects = augmented(scenes, indices, network, rng)
        loss = network.loss(model, pictures, objects)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT)
        optimizer.step()
        step += 1
        if step % 20 == 1:
            print(f"{network.name}: step {step}, {done:.0%}, loss {loss.item():.3f}", flush=True)
