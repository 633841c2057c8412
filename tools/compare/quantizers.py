"""Other quantizers on the same model, with real pictures; zqc beside them, with none.

    python -m tools.compare.quantizers [MODEL] [--only aimet ...] [--bits W4A8 ...] [--asked TEXT]
        [--keep FOLDER] [--json]

Each peer runs in a virtual environment of its own (``build/peers``, made on first use, 4 to 6 GB in
all) and gets the float model and 64 real pictures; what is asked of it stands in
``peers/catalogue.py``, how in ``peers/runners``. A peer that cannot be installed, fails, or exceeds
the time limit is skipped with the reason. zqc gets the model alone, as ``zqc compile`` does.

All files are measured in the same way here: COCO mAP (0.50:0.95, in percent) on the held-out
scenes; bytes relative to the float file; the time of one picture on one thread relative to the
float model's, all files in turn at the end, the least processor time of 200 runs each; how many
Conv nodes ONNX Runtime runs as QLinearConv; and the processor time to quantize, which for peers
begins after their imports and for zqc is that of the whole compilation. One runs after the other.

Three things are done for the peers that their defaults do not do, each told in the table:
"post-processing in float" leaves out every node from which no trained layer is reachable, DFL
included; "first and last layers 8 bit" is what zqc does, too, at 4 bits; and so is, with 4-bit
activations, "inside of SiLU 8 bit".
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

import zqc
from tools.compare.peers.catalogue import PEERS, ZQC, Peer
from tools.compare.peers.environment import Environment, SkippedError
from tools.compare.peers.measure import Row, latencies, measure, table
from tools.compare.peers.runners.common import processor_seconds
from tools.paths import DETECTOR, ROOT, SCENES
from zqc.errors import ZqcError
from zqc.model_io import model_file
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat

FOLDER = click.Path(path_type=Path, file_okay=False)

Feeds = dict[str, NDArray[np.float32]]


@click.command(context_settings={"show_default": True})
@click.argument(
    "model",
    default=DETECTOR,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option(
    "--scenes",
    default=SCENES,
    type=FOLDER,
    help="Folder with training, heldout, heldout.json.",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([ZQC.key, *(peer.key for peer in PEERS)]),
    help="Run these; all of them by default.",
)
@click.option(
    "--bits",
    multiple=True,
    type=click.Choice(sorted({variant.bits for peer in PEERS for variant in peer.variants})),
    help="At these bits; at all of them by default.",
)
@click.option("--asked", default="", help="Only rows where this column begins so.")
@click.option(
    "--environments", default=ROOT / "build" / "peers", type=FOLDER, help="Where they are."
)
@click.option("--keep", type=FOLDER, help="Keep what they write here.")
@click.option("--time-limit", default=1800.0, help="Seconds for an installation, and for a run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def main(
    model: Path,
    scenes: Path,
    only: tuple[str, ...],
    bits: tuple[str, ...],
    asked: str,
    environments: Path,
    keep: Path | None,
    time_limit: float,
    as_json: bool,
) -> None:
    """Compare zqc with other quantizers on MODEL."""
    feeds = _pictures(model, scenes / "training")
    chosen = [peer.narrowed(bits, asked) for peer in (ZQC, *PEERS) if not only or peer.key in only]
    with tempfile.TemporaryDirectory() as folder:
        work = keep or Path(folder)
        rows: list[Row] = []
        for peer in chosen:
            if peer.key == ZQC.key:
                found = _ours(peer, model, work, scenes)
            else:
                environment = Environment(environments / peer.key, peer.requirements, time_limit)
                found = _theirs(peer, environment, model, work, scenes, feeds)
            rows += [_told(row) for row in found]
        rows = _timed(rows, model, work, feeds)
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    before = next((row.measured.accuracy_float for row in rows if row.measured), None)
    print(f"float: {100 * before:.1f} mAP\n" if before is not None else "")
    print(table(rows))


def _pictures(model: Path, folder: Path) -> Feeds:
    """The real pictures as input tensors N,C,H,W, by the name of the model's input."""
    image = model_file.load(model).model.graph.inputs[0]
    assert image.name is not None
    assert image.shape is not None
    channels, height, width = (int(n) for n in list(image.shape)[1:])
    pictures = open_images(
        folder, channels=channels, height=height, width=width, input_format=InputFormat()
    )
    return {image.name: np.concatenate(list(pictures.batches(len(pictures))))}


def _ours(peer: Peer, model: Path, work: Path, scenes: Path) -> Iterator[Row]:
    """Compile the model alone, once for each of the variants."""
    for variant in peer.variants:
        row = Row(peer.title, variant.bits, variant.text, 0)
        output = _emptied(_output(work, row))
        started = processor_seconds()
        try:
            zqc.compile(model, output, cache=False, **variant.config)
        except ZqcError as error:
            yield dataclasses.replace(row, skipped=str(error))
            continue
        yield _measured(row, processor_seconds() - started, model, output, scenes)


def _theirs(
    peer: Peer, environment: Environment, model: Path, work: Path, scenes: Path, feeds: Feeds
) -> Iterator[Row]:
    """Let a peer quantize, once for each of the variants."""
    (count,) = {len(tensors) for tensors in feeds.values()}
    missing = ""
    try:
        if peer.variants:
            environment.ensure()
    except SkippedError as error:
        missing = str(error)
    for variant in peer.variants:
        row = Row(peer.title, variant.bits, variant.text, count, skipped=missing)
        if missing:
            yield row
            continue
        pictures, output = work / "pictures.npz", _emptied(_output(work, row))
        np.savez(pictures, **feeds)
        try:
            seconds = environment.run(
                f"run_{peer.key}.py", model, pictures, output, dict(variant.config)
            )
        except SkippedError as error:
            yield dataclasses.replace(row, skipped=str(error))
            continue
        yield _measured(row, seconds, model, output, scenes)


def _output(work: Path, row: Row) -> Path:
    """Where a row's file goes, in a folder of its own."""
    digest = hashlib.sha256(repr((row.tool, row.bits, row.variant)).encode()).hexdigest()
    return work / digest[:16] / "out.onnx"


def _emptied(output: Path) -> Path:
    """The same, in an empty folder: all that is written there counts as its size."""
    shutil.rmtree(output.parent, ignore_errors=True)
    output.parent.mkdir(parents=True)
    return output


def _timed(rows: list[Row], model: Path, work: Path, feeds: Feeds) -> list[Row]:
    """Measure the latencies of all files that there are, together."""
    there = [row for row in rows if row.measured is not None]
    one = {name: tensors[:1] for name, tensors in feeds.items()}
    found = dict(
        zip(there, latencies(model, [_output(work, row) for row in there], one), strict=True)
    )
    return [
        dataclasses.replace(row, measured=dataclasses.replace(row.measured, latency=found[row]))
        if row.measured is not None
        else row
        for row in rows
    ]


def _measured(row: Row, seconds: float, model: Path, output: Path, scenes: Path) -> Row:
    try:
        measured = measure(model, output, scenes)
    except ZqcError as error:
        return dataclasses.replace(row, skipped=f"what it wrote cannot be measured: {error}")
    return dataclasses.replace(row, seconds=seconds, measured=measured)


def _told(row: Row) -> Row:
    """Tell a row on standard error as soon as it is known."""
    click.echo(table([row]).splitlines()[-1], err=True)
    return row


if __name__ == "__main__":
    main()
