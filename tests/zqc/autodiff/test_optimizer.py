"""The optimiser step against PyTorch."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch

from zqc.autodiff.optimizer import adam_step
from zqc.runtime import session

BETA1, BETA2, RATE, EPSILON = 0.8, 0.95, 0.05, 1e-6
SHAPE = (3, 4)


def adam(t: int) -> tuple[float, float, float]:
    """Return step size, second correction and floor of Adam."""
    return RATE / (1 - BETA1**t), 1 / (1 - BETA2**t), EPSILON


def radam(t: int) -> tuple[float, float, float]:
    """Return the same of RAdam (Liu et al. 2020, algorithm 2); PyTorch corrects epsilon, too."""
    longest = 2 / (1 - BETA2) - 1
    length = longest - 2 * t * BETA2**t / (1 - BETA2**t)
    step = RATE / (1 - BETA1**t)
    if length <= 5:
        return step, 0.0, 1.0
    above = (length - 4) * (length - 2) * longest
    below = (longest - 4) * (longest - 2) * length
    correction = 1 / (1 - BETA2**t)
    return step * (above / below) ** 0.5, correction, EPSILON * correction**0.5


@pytest.mark.parametrize(
    ("schedule", "reference"), [(adam, torch.optim.Adam), (radam, torch.optim.RAdam)]
)
def test_step_equals_pytorch_over_ten_steps(schedule, reference) -> None:
    """Ten steps with odd betas follow PyTorch's optimiser to 1e-6; RAdam's first have momentum."""
    names = ["p", "g", "m", "v"]
    tensors = [ir.val(name, ir.DataType.FLOAT, SHAPE) for name in names]
    host = ("step_size", "second_correction", "floor")
    scalars = [ir.val(name, ir.DataType.FLOAT, ()) for name in host]
    graph = ir.Graph([*tensors, *scalars], [], nodes=[], opset_imports={"": 13}, name="adam")
    model = ir.Model(graph, ir_version=8)
    new = adam_step(model, *tensors, *scalars, beta1=BETA1, beta2=BETA2)
    graph.outputs.extend(new)
    assert [value.name for value in new] == ["p_next", "m_next", "v_next"]
    step = session.load(model)

    rng = np.random.default_rng(0)
    p = rng.standard_normal(SHAPE).astype(np.float32)
    m, v = np.zeros_like(p), np.zeros_like(p)
    twin = torch.nn.Parameter(torch.tensor(p))
    optimizer = reference([twin], lr=RATE, betas=(BETA1, BETA2), eps=EPSILON)
    for t in range(1, 11):
        g = rng.standard_normal(SHAPE).astype(np.float32)
        twin.grad = torch.tensor(g)
        optimizer.step()
        values = (np.asarray(value, np.float32) for value in schedule(t))
        result = step({"p": p, "g": g, "m": m, "v": v} | dict(zip(host, values, strict=True)))
        p, m, v = (result[f"{name}_next"] for name in ("p", "m", "v"))
        np.testing.assert_allclose(p, twin.detach().numpy(), rtol=0, atol=1e-6)
    exact = optimizer.state[twin]
    np.testing.assert_allclose(m * (1 - BETA1), exact["exp_avg"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(v * (1 - BETA2), exact["exp_avg_sq"], rtol=1e-5, atol=1e-7)
