"""Which input format a command works with: the given one, or one that is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from zqc.errors import NoBatchNormError
from zqc.pictures.input_format import ChannelOrder, InputFormat, is_bgr
from zqc.pictures.model_input import picture_shape
from zqc.statistics.batchnorm import LayerStatistics, harvest
from zqc.statistics.input_convention import detect_input_format


def choose_input_format(
    model: ir.Model,
    layers: Sequence[LayerStatistics] | None = None,
    *,
    asked: InputFormat | ChannelOrder = "RGB",
    ask: bool = True,
    threads: int | None = None,
) -> tuple[InputFormat, InputChoice]:
    """Take the given format, else the one that the statistics show, else 0:1.

    Args:
        model: The model, as ``model_io.load`` returns it.
        layers: Its statistics; by default those of its BatchNormalization nodes, if it has any.
        asked: What the options say.
        ask: Whether a doubt is an error. It need not be where no pixels are turned into values.
        threads: Threads of ONNX Runtime.

    Raises:
        OptionError: The statistics leave a doubt that has to be asked about.
        RuntimeFailure: ONNX Runtime cannot run the first layers.
    """
    if isinstance(asked, InputFormat):
        return asked, InputChoice(str(asked), "given")
    layers = _stored(model) if layers is None else layers
    if layers:
        picture = picture_shape(model)
        found = detect_input_format(model, layers, picture, bgr=is_bgr(asked), threads=threads)
        if ask:
            found.require_certain()
        if found.certain:
            choice = InputChoice(found.name, "found", found.flags, found.order_known)
            return found.format, choice
    assumed = InputFormat(bgr=is_bgr(asked))
    return assumed, InputChoice(str(assumed), "assumed")


def _stored(model: ir.Model) -> tuple[LayerStatistics, ...]:
    try:
        return harvest(model)
    except NoBatchNormError:
        return ()


@dataclass(frozen=True)
class InputChoice:
    """The input format that a command worked with.

    Attributes:
        name: Its name or its range, such as ``-1:1, BGR``.
        origin: Whether the options say so, the statistics card does, it was found from the
            BatchNorm statistics, or nothing was known.
        flags: The options that say the same, where it was found.
        order_known: Whether the order of the channels was found, too; it may not show.
    """

    name: str
    origin: Literal["given", "card", "found", "assumed"]
    flags: str = ""
    order_known: bool = True
