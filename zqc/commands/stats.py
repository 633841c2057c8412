"""Making a statistics card where the pictures are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from passes.graph import with_outputs
from zqc.commands.arguments import (
    ImagesLike,
    ModelLike,
    check_output,
    images_of,
    model_of,
    name_of_model,
    progress_of,
)
from zqc.commands.detector import detector_of
from zqc.errors import ModelError, OptionError, RuntimeFailure
from zqc.files.atomic import atomic_write
from zqc.files.places import FilePath, to_path
from zqc.model_io import model_file
from zqc.pictures.images import ImageSet, holds_tensors, open_images
from zqc.pictures.input_format import ChannelOrder, Fit, InputFormat
from zqc.pictures.model_input import fixed_batch, input_name, picture_shape
from zqc.progress import Progress, Task
from zqc.recipe.recipe import values_of
from zqc.report.printing import Printable
from zqc.runtime import session
from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.card import Card, CardEntry, to_text
from zqc.statistics.correspondence import LayerIdentity, folded, layers_of
from zqc.statistics.input_choice import InputChoice, choose_input_format
from zqc.statistics.pooled_moments import PooledMoments
from zqc.version import __version__

FEWEST_PICTURES = 16
"""Below, moments speak of single pictures too much to be handed out unasked. Our choice."""


def stats(
    model: ModelLike,
    output: FilePath,
    *,
    images: ImagesLike,
    input_format: InputFormat | ChannelOrder = "RGB",
    fit: Fit = "auto",
    input_shape: tuple[int, int] | None = None,
    inputs: Mapping[str, Any] | None = None,
    allow_few: bool = False,
    progress: Progress | bool | None = None,
    threads: int | None = None,
) -> StatsResult:
    """Write the moments of pictures inside a network, from which others can be synthesised.

    The card holds mean and variance of every channel of the outputs of the Conv, ConvTranspose and
    Gemm layers (BatchNorm counts as part of its layer, so a model gives the same card with it and
    without), over all pictures and positions, and the range of each output as a whole.

    Example:
        >>> import zqc
        >>> zqc.stats("model.onnx", "card.json", images="pictures")

    Args:
        model: A float ONNX model, BatchNorm kept or folded: its path, an ``onnx.ModelProto`` or an
            ``onnx_ir.Model``.
        output: Where the card goes.
        images: The pictures, as ``zqc.compile`` takes them.
        input_format: How pixels become input values; ``"RGB"`` or ``"BGR"`` to find it from
            BatchNorm, if there is any, for channels in this order.
        fit: How pictures of another size get into the input.
        input_shape: Height and width for a model that leaves them open.
        inputs: Values of inputs beside the picture by name; the usual ones by default.
        allow_few: Whether fewer than ``FEWEST_PICTURES`` will do.
        progress: Where long work reports to; True for bars; nowhere by default.
        threads: Threads of ONNX Runtime; all cores by default.

    Returns:
        What the card holds; ``print`` shows it as the command does.

    Raises:
        ZqcError: See ``zqc.errors``; nothing is written then. An OptionError says that there are
            too few pictures.
    """
    started = time.monotonic()
    progress, (pixels, beside) = progress_of(progress), images_of(images)
    source, output = model_of(model), to_path(output)
    check_output(output, source, pixels)
    with progress.stage(f"Loading {name_of_model(source)}"):
        loaded = model_file.load(
            source, input_shape=input_shape, inputs={**beside, **values_of(inputs)}
        )
        network = folded(loaded.model)
    layers = layers_of(network)
    if not layers:
        raise ModelError(f"{loaded.name}: no Conv, ConvTranspose or Gemm with constant weights")
    name, (channels, height, width) = input_name(network), picture_shape(network)
    with progress.stage("Finding how pixels become input values"):
        form, choice = choose_input_format(
            loaded.model,
            asked=input_format,
            ask=not holds_tensors(pixels, name),
            pixels=loaded.interface.taken.picture.holds_pixels,
            threads=threads,
        )
    pictures = open_images(
        pixels,
        channels=channels,
        height=height,
        width=width,
        input_format=form,
        mode=detector_of(loaded).fit(fit),
        input_name=name,
    )
    if len(pictures) < FEWEST_PICTURES and not allow_few:
        raise OptionError(
            f"{pictures.source} are too few to hide a single one behind the others: a card of "
            f"fewer than {FEWEST_PICTURES} may show what they looked like; use more, or say "
            "--allow-few if the card stays where the pictures are"
        )
    outputs = [layer.output for layer in layers]
    runner = session.load(with_outputs(network, outputs), outputs=outputs, threads=threads)
    with progress.task("Measuring", len(pictures)) as task:
        seen = _measured(runner, name, pictures, fixed_batch(network), task)
    entries = tuple(_entry(layer, seen[layer.output]) for layer in layers)
    card = Card(len(pictures), (channels, height, width), form, entries)
    content = to_text(card, written_by=__version__).encode()
    with atomic_write(output) as file:
        file.write(content)
    return StatsResult(
        output=output,
        pictures=len(pictures),
        input_choice=choice,
        layers=len(layers),
        channels=sum(layer.channels for layer in layers),
        bytes_written=len(content),
        seconds=time.monotonic() - started,
    )


def _measured(
    runner: session.Runner, name: str, pictures: ImageSet, batch: int | None, task: Task
) -> dict[str, PooledMoments]:
    """Pool the moments of every output, one run at a time; a fixed batch is filled up.

    Raises:
        RuntimeFailure: A value became infinite or not a number.
    """
    pooled: dict[str, PooledMoments] = {}
    for tensors in pictures.batches(batch or 1):
        count = len(tensors)
        filled = np.resize(tensors, (batch or count, *tensors.shape[1:]))
        for output, values in runner({name: filled}).items():
            if not np.isfinite(values).all():
                raise RuntimeFailure(
                    f"the output {output!r} of a layer became infinite or not a number on a "
                    "picture; check --input-range or --mean/--std"
                )
            # Rows are pictures, or several rows in turn are one.
            seen = PooledMoments.of(values[: len(values) * count // len(filled)].astype(np.float32))
            pooled[output] = pooled[output].joined(seen) if output in pooled else seen
        task.advance(steps=count)
    return pooled


def _entry(layer: LayerIdentity, seen: PooledMoments) -> CardEntry:
    statistics = LayerStatistics(layer.output, seen.mean, seen.deviation)
    return CardEntry(layer, statistics, seen.low, seen.high)


@dataclass(frozen=True)
class StatsResult(Printable):
    """The outcome of ``zqc.stats``.

    Attributes:
        output: The card that was written.
        pictures: Number of pictures it is of.
        input_choice: How pixels become input values.
        layers: Number of layers it speaks of.
        channels: Their channels together.
        bytes_written: Size of the card.
        seconds: Wall time.
    """

    text_by = ("zqc.report.text", "card_written")

    output: Path
    pictures: int
    input_choice: InputChoice
    layers: int
    channels: int
    bytes_written: int
    seconds: float
