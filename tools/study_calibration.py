"""Accuracy of the example detector by bits and by calibration data: the table of the README.

    python tools/study_calibration.py [--seeds 3] [--effort standard]

Every cell is the COCO mAP (0.50:0.95, in percent) on the 200 held-out scenes. Synthetic pictures
are made once per seed as ``zqc compile`` makes them and, like the 64 real scenes and 64 pictures of
uniform noise, handed to ``zqc compile --images``: the columns differ in nothing but the pictures.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
import numpy as np

import zqc
from zqc.recipe import EFFORTS

EXAMPLES = Path(__file__).parent.parent / "examples"
PRECISIONS = (("W8A8", 8, 8), ("W4A8", 4, 8), ("W4A4", 4, 4))
SIZE, NOISE = 192, 64


@click.command()
@click.option(
    "--seeds", default=3, show_default=True, help="Seeds of synthetic and noise pictures."
)
@click.option("--effort", default="standard", type=click.Choice(EFFORTS), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(seeds: int, effort: str, as_json: bool) -> None:
    """Print the table."""
    model = EXAMPLES / "detector.onnx"
    rows: dict[str, dict[str, list[float]]] = {name: {} for name, _, _ in PRECISIONS}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources = [("real", EXAMPLES / "scenes" / "training")]
        for seed in range(seeds):
            recipe = zqc.Recipe(seed=seed, effort=effort)
            zqc.synthesize(model, work / f"synthetic{seed}", recipe=recipe)
            sources.append(("synthetic", work / f"synthetic{seed}" / "pictures.npz"))
            noise = np.random.default_rng(seed).random((NOISE, 3, SIZE, SIZE), np.float32)
            np.savez(work / f"noise{seed}.npz", images=noise)
            sources.append(("noise", work / f"noise{seed}.npz"))
        float_map = 0.0
        for name, bits, act_bits in PRECISIONS:
            for kind, images in sources:
                recipe = zqc.Recipe(bits=bits, act_bits=act_bits)
                output = work / "out.onnx"
                zqc.compile(model, output, recipe=recipe, images=images)
                checked = zqc.check(
                    model,
                    output,
                    images=EXAMPLES / "scenes" / "heldout",
                    labels=EXAMPLES / "scenes" / "heldout.json",
                )
                assert checked.accuracy_float is not None
                assert checked.accuracy_quantized is not None
                float_map = checked.accuracy_float.ap
                rows[name].setdefault(kind, []).append(checked.accuracy_quantized.ap)
    if as_json:
        print(json.dumps({"float": float_map, **rows}))
        return
    print(f"float: {100 * float_map:.1f} mAP; {effort} effort, {seeds} seeds\n")
    print("|      | synthetic | 64 real scenes | uniform noise |")
    print("|------|-----------|----------------|---------------|")
    for name, cells in rows.items():
        texts = [_cell(cells[kind]) for kind in ("synthetic", "real", "noise")]
        print(f"| {name} | " + " | ".join(texts) + " |")


def _cell(values: list[float]) -> str:
    """Mean in percent, and the range over the seeds where there are several."""
    percent = 100 * np.array(values)
    spread = f" ({percent.min():.1f}…{percent.max():.1f})" if len(values) > 1 else ""
    return f"{percent.mean():.1f}{spread}"


if __name__ == "__main__":
    main()
