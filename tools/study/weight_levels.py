"""What levels of weights that are closer near zero leave of the weights, without any picture.

    python -m tools.study.weight_levels MODEL... [--bits 4]

For each model the SQNR of its weights in dB, the mean over all layers that can have levels (see
``passes.analysis.log_affine``), each weight rounded to the nearest level:

- ``powers of two``: uniform levels whose threshold is a power of two;
- ``four an octave``: uniform levels whose threshold is one of four between two powers of two;
- ``log-affine``: all sets of levels.

Each channel has the set and the threshold that are best for it.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from passes.analysis.log_affine import LEVEL_BITS, WIDTHS, level_sets, nearest
from passes.analysis.topology import weighted_layers
from passes.arithmetic import exponent_of, scales
from passes.layers import layer_of
from passes.quantize.quantize_weights import has_levels
from zqc.model_io import model_file

WAYS = {"powers of two": slice(0, 1), "four an octave": slice(0, 4), "log-affine": slice(None)}


@click.command(context_settings={"show_default": True})
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--bits", type=click.Choice([str(bits) for bits in WIDTHS]), default="4")
@click.option("--channels", default=64, help="Of each layer, the first.")
def main(models: tuple[Path, ...], bits: str, channels: int) -> None:
    """Print one row per model."""
    print(f"| weights of {bits} bits | layers | {' | '.join(WAYS)} |")
    print("|---|---|" + "---|" * len(WAYS))
    for path in models:
        graph = model_file.load(path).model.graph
        layers = [layer for node in weighted_layers(graph) if (layer := layer_of(node))]
        layers = [layer for layer in layers if has_levels(layer, int(bits))]
        rows = [np.moveaxis(one.weight, one.output_axis, 0)[:channels] for one in layers]
        flat = [each.reshape(len(each), -1).astype(np.float64) for each in rows]
        cells = [np.mean([sqnr(one, int(bits), way) for one in flat]) for way in WAYS.values()]
        print(f"| {path.stem} | {len(flat)} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")


def sqnr(rows: NDArray[np.float64], bits: int, way: slice) -> float:
    """The SQNR of weights, (channels, weights), in dB, with the best of some sets of levels."""
    highest = exponent_of(np.abs(rows).max(axis=1)) + 1
    errors = []
    for lower in range(4):
        scale = scales(highest - lower, bits=LEVEL_BITS, signed=True)[:, np.newaxis]
        for levels in level_sets(bits)[way].astype(np.float64):
            found = nearest(rows / scale, levels) * scale
            errors.append(np.square(found - rows).sum(axis=1))
    return float(10 * np.log10(np.square(rows).sum() / np.min(errors, axis=0).sum()))


if __name__ == "__main__":
    main()
