"""Time and difference of image gradients: ONNX Runtime against PyTorch's autograd.

    python -m tools.bench.gradients examples/detector.onnx

The loss is the one of data synthesis in short: per-channel means and mean squares of every Conv
output, squared and summed. Both sides get the same graph, BatchNorm folded unless told otherwise,
and run in turn; the fastest of several runs counts, because other work on the machine only ever
makes a run slower.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
import onnx_ir as ir
import torch

from passes.canonicalize.fold_batchnorm import FoldBatchNorm
from tools.reference.onnx_to_torch import TorchTwin
from zqc.autodiff import engine
from zqc.model_io import model_file
from zqc.runtime import session


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--batch", default=2, show_default=True)
@click.option("--size", type=int, help="Height and width, for a model that leaves them open.")
@click.option("--threads", default=1, show_default=True)
@click.option("--repeats", default=9, show_default=True)
@click.option("--keep-batchnorm", is_flag=True, help="Do not fold BatchNorm into the convolutions.")
def main(
    path: Path, batch: int, size: int | None, threads: int, repeats: int, keep_batchnorm: bool
) -> None:
    """Compare the gradient of a statistics loss with regard to the picture."""
    model = model_file.load(path, input_shape=(size, size) if size else None).model
    if not keep_batchnorm:
        model = FoldBatchNorm()(model).model
    image = model.graph.inputs[0]
    if isinstance(image.shape[0], int):
        batch = image.shape[0]
    shape = [batch, *image.shape[1:]]
    click.echo(f"{path.name}, input {shape}, {threads} thread(s)")
    watched = [node.outputs[0].name for node in model.graph if node.op_type == "Conv"]
    twin, exact_twin = TorchTwin(model), TorchTwin(model, torch.float64)
    data = np.random.default_rng(0).random(shape, np.float32)

    started = time.perf_counter()
    loss = statistics_loss(model, watched)
    forward_nodes = len(model.graph)
    (gradient,) = engine.gradient(model, loss, [image])
    click.echo(
        f"gradient built in {time.perf_counter() - started:.2f} s: "
        f"{forward_nodes} nodes forward, {len(model.graph) - forward_nodes} backward"
    )
    model.graph.outputs[:] = [loss, gradient]
    run = session.load(model, threads=threads)
    torch.set_num_threads(threads)

    def in_torch(
        twin: TorchTwin = twin, dtype: torch.dtype = torch.float32
    ) -> tuple[float, np.ndarray]:
        x = torch.tensor(data, dtype=dtype, requires_grad=True)
        value = torch_loss(twin({image.name: x}), watched)
        value.backward()
        return value.item(), x.grad.numpy()

    def in_onnx() -> tuple[float, np.ndarray]:
        result = run({image.name: data})
        return float(result[loss.name]), result[gradient.name]

    (loss_torch, expected), (loss_onnx, actual) = in_torch(), in_onnx()
    _, exact = in_torch(exact_twin, torch.float64)
    click.echo(f"loss {loss_onnx:.6g} (PyTorch {loss_torch:.6g})")
    click.echo("largest gradient difference, relative to the largest gradient:")
    click.echo(f"  ONNX Runtime - PyTorch: {relative(actual, expected):.2e}")
    click.echo(f"  ONNX Runtime - PyTorch in float64: {relative(actual, exact):.2e}")
    click.echo(f"  PyTorch - PyTorch in float64: {relative(expected, exact):.2e}")
    times: dict[str, list[float]] = {"ONNX Runtime": [], "PyTorch": []}
    for _ in range(repeats):
        for name, step in (("ONNX Runtime", in_onnx), ("PyTorch", in_torch)):
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    fastest = {name: min(values) / batch for name, values in times.items()}
    for name, seconds in fastest.items():
        click.echo(f"{name}: {1e3 * seconds:.2f} ms per picture, forward and backward")
    click.echo(f"PyTorch / ONNX Runtime: {fastest['PyTorch'] / fastest['ONNX Runtime']:.2f}")


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference over the largest element.

    In deep networks with kinks (ReLU, max pool) it can be large where float32 rounding moves one
    activation across a kink; then PyTorch is as far from its own float64 result.
    """
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def statistics_loss(model: ir.Model, watched: list[str]) -> ir.Value:
    """Append Σ mean² + (mean of squares)² over the channels of the watched values."""
    by_name = {y.name: y for node in model.graph for y in node.outputs}
    terms = []

    def op(op_type: str, *inputs: ir.Value, **attributes: object) -> ir.Value:
        node = ir.node(op_type, inputs, attributes)
        model.graph.append(node)
        return node.outputs[0]

    for name in watched:
        z = by_name[name]
        axes = [0, *range(2, len(z.shape))]
        for moment in (z, op("Mul", z, z)):
            if model.graph.opset_imports[""] < 18:
                mean = op("ReduceMean", moment, axes=axes)
            else:
                constant = ir.val(f"{moment.name}_axes", const_value=ir.tensor(axes))
                model.graph.register_initializer(constant)
                mean = op("ReduceMean", moment, constant)
            terms.append(op("ReduceSum", op("Mul", mean, mean), keepdims=0))
    return op("Sum", *terms)


def torch_loss(values: dict[str, torch.Tensor], watched: list[str]) -> torch.Tensor:
    """Return the same number in PyTorch."""
    terms = []
    for name in watched:
        z = values[name]
        axes = (0, *range(2, z.ndim))
        terms += [z.mean(axes).square().sum(), z.square().mean(axes).square().sum()]
    return torch.stack(terms).sum()


if __name__ == "__main__":
    main()
