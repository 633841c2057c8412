"""The optimiser step against PyTorch."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from zqc import runtime
from zqc.autodiff import adam_step


def test_adam_equals_pytorch_over_ten_steps() -> None:
    """Ten steps with odd betas follow torch.optim.Adam to 1e-6."""
    beta1, beta2, rate, epsilon = 0.8, 0.95, 0.05, 1e-6
    shape = (3, 4)
    names = ["p", "g", "m", "v"]
    tensors = [ir.val(name, ir.DataType.FLOAT, shape) for name in names]
    scalars = [ir.val(name, ir.DataType.FLOAT, ()) for name in ("step_size", "second_correction")]
    graph = ir.Graph([*tensors, *scalars], [], nodes=[], opset_imports={"": 13}, name="adam")
    model = ir.Model(graph, ir_version=8)
    new = adam_step(model, *tensors, *scalars, beta1=beta1, beta2=beta2, epsilon=epsilon)
    graph.outputs.extend(new)
    assert [value.name for value in new] == ["p_next", "m_next", "v_next"]
    step = runtime.load(model)

    rng = np.random.default_rng(0)
    p = rng.standard_normal(shape).astype(np.float32)
    m, v = np.zeros_like(p), np.zeros_like(p)
    twin = torch.nn.Parameter(torch.tensor(p))
    optimizer = torch.optim.Adam([twin], lr=rate, betas=(beta1, beta2), eps=epsilon)
    for t in range(1, 11):
        g = rng.standard_normal(shape).astype(np.float32)
        twin.grad = torch.tensor(g)
        optimizer.step()
        sizes = {
            "step_size": np.asarray(rate / (1 - beta1**t), np.float32),
            "second_correction": np.asarray(1 / (1 - beta2**t), np.float32),
        }
        result = step({"p": p, "g": g, "m": m, "v": v} | sizes)
        p, m, v = (result[f"{name}_next"] for name in ("p", "m", "v"))
    np.testing.assert_allclose(p, twin.detach().numpy(), rtol=0, atol=1e-6)
