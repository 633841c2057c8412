"""Statistics of a model from itself, from trained weights, from a card, or from a twin."""

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
from zqc.statistics.files.kinds import kind_of
from zqc.statistics.trained_file import counted, lent_by


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
        file: A checkpoint of PyTorch, a file of safetensors or weights of Darknet, whose BatchNorm
            layers are found in the model; a twin of the model that still has BatchNorm
            (``.onnx``); or a statistics card (``.json``). The model's own BatchNormalization nodes
            if None.
        input_format: How pixels become input values, where that is settled.

    Raises:
        NoBatchNormError: The model, or the twin, has no BatchNorm.
        StatisticsError: The file cannot be used, is of another model, or was made with another
            input format.
        ModelError: The twin cannot be read.
    """
    if file is None:
        layers = harvest(model)
        return Origin(layers, f"{len(layers)} BatchNorm layer{'s' * (len(layers) != 1)}")
    kind = kind_of(file)
    if kind == "onnx":
        return _from_twin(model, file)
    if kind == "card":
        return _from_card(model, file, input_format)
    lent = lent_by(file, kind, model)
    return Origin(lent.layers, counted(len(lent.used), lent.unused, file))


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
        if name is not None
    )
    left = [layer.output for name, layer in zip(names, theirs, strict=True) if name is None]
    text = counted(len(layers), left, file, what="layers")
    return Origin(layers, f"{text} ({card.pictures} pictures)", card.input_format)


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
    found: list[_Borrowed] = []
    refused: StatisticsError | None = None
    # Who folds BatchNorm may merge the branches of a RepConv, too.
    for merged in (False, True):
        try:
            found.append(_borrowed(model, twin, file, merged=merged))
        except StatisticsError as error:
            refused = refused or error
        else:
            if not found[-1].left:
                break
    if not found and refused is not None:
        raise refused
    best = min(found, key=lambda each: len(each.left))
    if not best.layers:
        raise StatisticsError(f"no BatchNorm of {file} stands behind a layer with weights")
    return Origin(best.layers, counted(len(best.layers), best.left, file))


@dataclass(frozen=True)
class _Borrowed:
    """Statistics of a twin under the names of the model, and the layers that it does not have."""

    layers: tuple[LayerStatistics, ...]
    left: tuple[str, ...]


def _borrowed(model: ir.Model, twin: ir.Model, file: Path, *, merged: bool) -> _Borrowed:
    """Look the layers of a twin up in the model, branches merged in both or neither."""
    of_twin, of_model = (folded(each, merged=merged) for each in (twin, model))
    known = {layer.output: layer for layer in with_sums(twin, of_twin, harvest(twin))}
    layers = [layer for layer in layers_of(of_twin) if layer.output in known]
    names = corresponding(layers, layers_of(of_model), str(file))
    theirs = [layer.output for layer in layers]
    return _Borrowed(
        tuple(
            LayerStatistics(name, known[output].mean, known[output].deviation)
            for name, output in zip(names, theirs, strict=True)
            if name is not None
        ),
        tuple(output for name, output in zip(names, theirs, strict=True) if name is None),
    )


def _alike(one: InputFormat, other: InputFormat, channels: int) -> bool:
    same = np.allclose(one.bounds(channels), other.bounds(channels), rtol=1e-5, atol=1e-6)
    return same and one.bgr == other.bgr


def _convention(value: InputFormat) -> str:
    ends = (", ".join(f"{v:.4g}" for v in end) for end in (value.low, value.high))
    return f"{'BGR' if value.bgr else 'RGB'} pixels as {' to '.join(ends)}"


def _size(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))
