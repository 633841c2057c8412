"""Whether statistics from a checkpoint give the grids that the model's own BatchNorm gives.

    python -m tools.study.lent_statistics KEPT.onnx FOLDED.onnx FILE ... [--samples 4]

KEPT and FOLDED are two exports of one network, with BatchNorm and without; each FILE lends FOLDED
its statistics. Both are compiled, and the scales of their activations compared: they are powers of
two, so a scale differs by whole steps. Tensors are those that QuantizeLinear reads, paired by the
order in which they are met from the outputs backwards, which does not depend on names.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
import onnx_ir as ir

import zqc
from passes.graph import constant

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("kept", type=_FILE)
@click.argument("folded", type=_FILE)
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option("--samples", default=4, show_default=True)
def main(kept: Path, folded: Path, files: tuple[Path, ...], samples: int) -> None:
    """Compare the scales that each of FILES gives FOLDED with those of KEPT."""
    with tempfile.TemporaryDirectory() as folder:
        own = _scales(kept, None, samples, Path(folder))
        for file in files:
            lent = _scales(folded, file, samples, Path(folder))
            click.echo(f"{file.name}: {compared(own, lent)}")


def _scales(model: Path, statistics: Path | None, samples: int, folder: Path) -> list[float]:
    target = folder / "model.onnx"
    result = zqc.compile(
        model, target, effort="quick", samples=samples, statistics=statistics, threads=1
    )
    click.echo(f"{model.name}: {result.calibration}")
    return scales(ir.load(target))


def scales(model: ir.Model) -> list[float]:
    """The scale of every QuantizeLinear, in the order of a walk back from the outputs."""
    found: list[float] = []
    seen: set[ir.Node] = set()
    waiting = [value.producer() for value in reversed(model.graph.outputs)]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.op_type == "QuantizeLinear":
            scale = constant(node.inputs[1])
            if scale is not None:
                found.append(float(scale.reshape(-1)[0]))
        waiting += [value.producer() for value in reversed(node.inputs) if value is not None]
    return found


def compared(own: list[float], lent: list[float]) -> str:
    """Say how many scales differ, and by how many steps."""
    if len(own) != len(lent):
        return f"{len(own)} and {len(lent)} tensors: the two are not written alike"
    steps = np.abs(np.round(np.log2(own) - np.log2(lent))).astype(int)
    differing = np.count_nonzero(steps)
    share = differing / max(len(steps), 1)
    return (
        f"{differing} of {len(steps)} tensors ({share:.1%}) have another exponent, by at most "
        f"{max(steps, default=0)}"
    )


if __name__ == "__main__":
    main()
