"""Which input format a command works with: the given one, or one that is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import onnx_ir as ir

from zqc.errors import NoBatchNormError, OptionError
from zqc.pictures.input_format import ChannelOrder, InputFormat, is_bgr
from zqc.pictures.model_input import picture_shape
from zqc.statistics.batchnorm import LayerStatistics, harvest
from zqc.statistics.input_convention import detect_input_format
from zqc.statistics.stated_format import stated_format

_PIXELS = InputFormat.from_range(0, 255)


def choose_input_format(
    model: ir.Model,
    layers: Sequence[LayerStatistics] | None = None,
    *,
    asked: InputFormat | ChannelOrder = "RGB",
    ask: bool = True,
    pixels: bool = False,
    threads: int | None = None,
) -> tuple[InputFormat, InputChoice]:
    """Take the given format, else what the model states, else what its statistics show, else 0:1.

    Args:
        model: The model, as ``model_io.load`` returns it.
        layers: Its statistics; by default those of its BatchNormalization nodes, if it has any.
        asked: What the options say.
        ask: Whether a doubt is an error. It need not be where no pixels are turned into values.
        pixels: Whether the file takes 8-bit pixels as they are.
        threads: Threads of ONNX Runtime.

    Raises:
        OptionError: The file takes pixels, and something else is given; or the statistics leave a
            doubt that has to be asked about.
        RuntimeFailure: ONNX Runtime cannot run the first layers.
    """
    if isinstance(asked, InputFormat):
        return given_format(asked, pixels=pixels)
    if stated := stated_format(model, pixels=pixels, bgr=is_bgr(asked)):
        form, by = stated
        return form, InputChoice(str(form), "stated", by)
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


def given_format(asked: InputFormat, *, pixels: bool) -> tuple[InputFormat, InputChoice]:
    """Take the given format.

    Raises:
        OptionError: The file takes 8-bit pixels as they are, and the format is another one.
    """
    if pixels and asked not in (_PIXELS, replace(_PIXELS, bgr=True)):
        raise OptionError(
            f"the input range {asked} was given, but the model takes 8-bit pixels as they are; "
            "leave it out, or say 0:255"
        )
    return asked, InputChoice(str(asked), "given")


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
        origin: Whether the options say so, a recipe or the statistics card does, the model states
            it, it was found from the BatchNorm statistics, or nothing was known.
        flags: The options that say the same, where it was found; what states it, where the model
            does.
        order_known: Whether the order of the channels was found, too; it may not show.
    """

    name: str
    origin: Literal["given", "recipe", "card", "stated", "found", "assumed"]
    flags: str = ""
    order_known: bool = True
