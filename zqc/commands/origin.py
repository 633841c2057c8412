"""Statistics of a model from itself, from a statistics card, or from a twin with BatchNorm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from zqc.errors import InputShapeError, NoBatchNormError, StatisticsError
from zqc.model_io import model_file
from zqc.pictures.input_format import ChannelOrder, InputFormat
from zqc.pictures.model_input import picture_shape
from zqc.statistics.batchnorm import LayerStatistics, harvest, with_sums
from zqc.statistics.card import read_card
from zqc.statistics.correspondence import corresponding, folded, layers_of


@dataclass(frozen=True)
class Origin:
    """Statistics and where they come from.

    Attributes:
        layers: Statistics of values of the model.
        text: Their number and source, in words.
        input_format: How pixels became input values when they were measured, where that is known.
    """

    layers: tuple[LayerStatistics, ...]
    text: str
    input_format: InputFormat | None = None


def find_statistics(
    model: ir.Model, file: Path | None = None, *, input_format: InputFormat | ChannelOrder = "RGB"
) -> Origin:
    """Find the statistics that pictures are synthesised from.

    Args:
        model: The model, as ``model_file.load`` returns it.
        file: A statistics card (``.json``), or a twin of the model that still has BatchNorm
            (``.onnx``); the model's own BatchNormalization nodes if None.
        input_format: How pixels become input values, where that is settled.

    Raises:
        NoBatchNormError: The model, or the twin, has no BatchNorm.
        StatisticsError: The file cannot be used, is of another model, or was made with another
            input format.
        ModelError: The twin cannot be read.
    """
    if file is None:
        layers = harvest(model)
        return Origin(layers, f"{len(layers)} BatchNorm layers")
    if file.suffix.lower() == ".onnx":
        return _from_twin(model, file)
    return _from_card(model, file, input_format)


def _from_card(model: ir.Model, file: Path, asked: InputFormat | ChannelOrder) -> Origin:
    card = read_card(file)
    found = picture_shape(model)
    if found != card.shape:
        raise StatisticsError(
            f"statistics card {file} is of pictures of {_size(card.shape)}, but the model's input "
            f"is {_size(found)}; make the card again with --input-shape of that height and width"
        )
    if isinstance(asked, InputFormat) and not _alike(card.input_format, asked, found[0]):
        raise StatisticsError(
            f"statistics card {file} was made for {_convention(card.input_format)}, but the "
            f"options say {_convention(asked)}; give the same --input-range, --mean/--std "
            "and --bgr as to zqc stats"
        )
    theirs = [entry.layer for entry in card.entries]
    names = corresponding(theirs, layers_of(folded(model)), str(file))
    layers = tuple(
        LayerStatistics(name, entry.statistics.mean, entry.statistics.deviation)
        for name, entry in zip(names, card.entries, strict=True)
    )
    text = f"{len(layers)} layers of {file} ({card.pictures} pictures)"
    return Origin(layers, text, card.input_format)


def _from_twin(model: ir.Model, file: Path) -> Origin:
    try:  # its size does not matter, but it must have one
        twin = model_file.load(file, input_shape=picture_shape(model)[1:]).model
    except InputShapeError:
        twin = model_file.load(file).model
    try:
        harvest(twin)
    except NoBatchNormError as error:
        raise NoBatchNormError(
            f"{file} has no BatchNormalization either, so it cannot lend its statistics; give the "
            "model as it was before BatchNorm was folded, or a card made with zqc stats"
        ) from error
    try:
        layers = _lent(model, twin, file, merged=False)
    except StatisticsError as error:
        # Who folds BatchNorm may merge the branches of a RepConv, too.
        try:
            layers = _lent(model, twin, file, merged=True)
        except StatisticsError:
            raise error from None
    if not layers:
        raise StatisticsError(f"no BatchNorm of {file} stands behind a layer with weights")
    return Origin(layers, f"{len(layers)} BatchNorm layers of {file}")


def _lent(
    model: ir.Model, twin: ir.Model, file: Path, *, merged: bool
) -> tuple[LayerStatistics, ...]:
    """The statistics of a twin under the names of the model, branches merged in both or neither."""
    of_twin, of_model = (folded(each, merged=merged) for each in (twin, model))
    known = {layer.output: layer for layer in with_sums(twin, of_twin, harvest(twin))}
    theirs = [layer for layer in layers_of(of_twin) if layer.output in known]
    names = corresponding(theirs, layers_of(of_model), str(file))
    return tuple(
        LayerStatistics(name, known[layer.output].mean, known[layer.output].deviation)
        for name, layer in zip(names, theirs, strict=True)
    )


def _alike(one: InputFormat, other: InputFormat, channels: int) -> bool:
    same = np.allclose(one.bounds(channels), other.bounds(channels), rtol=1e-5, atol=1e-6)
    return same and one.bgr == other.bgr


def _convention(value: InputFormat) -> str:
    ends = (", ".join(f"{v:.4g}" for v in end) for end in (value.low, value.high))
    return f"{'BGR' if value.bgr else 'RGB'} pixels as {' to '.join(ends)}"


def _size(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))
