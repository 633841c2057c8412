"""Comparing a quantized model with its float model on pictures."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from passes.operators import PICKING
from zqc.benchmark.inputs import common_inputs, inputs_of, model_inputs
from zqc.commands.arguments import ImagesLike, ModelLike, images_of, model_of, progress_of
from zqc.commands.read_recipe import recipe_in
from zqc.detection.agreement import OutputsMeter, PartAgreement
from zqc.detection.average_precision import Accuracy, agreement, coco_accuracy, read_labels
from zqc.detection.conventions.anchors_file import read_anchors
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.detections import Detections
from zqc.detection.parts import OutputPart, output_parts
from zqc.errors import (
    LabelError,
    ModelError,
    OptionError,
    RuntimeFailure,
    ZqcError,
)
from zqc.files import to_path
from zqc.model_io import model_file
from zqc.model_io.ends import split_file
from zqc.model_io.onnx_file import as_file
from zqc.pictures.images import holds_tensors, open_images
from zqc.pictures.input_format import ChannelOrder, InputFormat, is_bgr
from zqc.recipe.recipe import values_of
from zqc.report.printing import Printable
from zqc.runtime import extras
from zqc.runtime.session import Runner, load
from zqc.statistics.input_choice import InputChoice, choose_input_format, given_format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zqc.benchmark.inputs import Input
    from zqc.detection.average_precision import Truth
    from zqc.detection.conventions.convention import Convention
    from zqc.detection.parts import OutputPart
    from zqc.files import FilePath
    from zqc.pictures.images import ImageSet
    from zqc.pictures.model_input import ModelInputs
    from zqc.progress import Progress

    Outputs = dict[str, NDArray[np.generic]]


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Model:
    """A model and its inputs.

    Attributes:
        path: Its file.
        runner: It, loaded: its own outputs, as far as they can be had, and those of ``part``.
        inputs: What it is fed with.
        part: What of it can be compared, see ``zqc.model_io.ends``.
        left: Its outputs that cannot, by name, with why.
    """

    path: Path
    runner: Runner
    inputs: tuple[Input, ...]
    part: ir.Model
    left: Mapping[str, str]

    @property
    def compared(self) -> tuple[str, ...]:
        """Names of what can be compared."""
        return tuple(value.name or "" for value in self.part.graph.outputs)

    @property
    def selects(self) -> bool:
        """Whether the number of instances depends on the picture even in what can be compared."""
        return any(node.op_type in PICKING for node in self.part.graph)

    def __call__(self, feeds: Mapping[str, NDArray[np.generic]]) -> Outputs:
        """Run the model; half-precision outputs become float32."""
        try:
            outputs = self.runner(feeds)
        except RuntimeFailure as error:
            raise RuntimeFailure(f"{self.path}: {error}") from error
        return {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in outputs.items()
        }


@dataclass(frozen=True)
class _Taken:
    """What both models are fed with.

    Attributes:
        inputs: What makes it from pictures.
        values: The given values of inputs beside the picture.
        shape: Sizes (N, C, H, W) of a batch.
        declared: The sizes of the picture input as the models have them.
    """

    inputs: ModelInputs
    values: Mapping[str, Sequence[float]]
    shape: tuple[int, int, int, int]
    declared: tuple[int, ...]

    def feeds(self, tensors: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        """Feed fewer pictures than a batch has by repeating the last one."""
        missing = self.shape[0] - len(tensors)
        return self.inputs.feeds(np.concatenate([tensors, np.repeat(tensors[-1:], missing, 0)]))


@dataclass(frozen=True)
class _Observed:
    """What running both models over the pictures left."""

    parts: tuple[PartAgreement, ...]
    found_float: tuple[Detections, ...]
    found_quantized: tuple[Detections, ...]


def check(
    float_model: ModelLike,
    quantized: ModelLike,
    *,
    images: ImagesLike,
    labels: FilePath | None = None,
    anchors: FilePath | None = None,
    input_format: InputFormat | ChannelOrder = "RGB",
    input_shape: tuple[int, int] | None = None,
    inputs: Mapping[str, Any] | None = None,
    limit: int | None = None,
    threads: int | None = None,
    progress: Progress | bool | None = None,
) -> CheckResult:
    """Run both models over pictures and compare what comes out.

    The parts of the outputs are always compared. With a known output convention
    (``zqc.detection.conventions``) the detections are compared too, and with labels the average
    precision of both models is measured.

    Example:
        >>> import zqc
        >>> print(zqc.check("model.onnx", "model.int8.onnx", images="pictures"))

    Args:
        float_model: The model that was compiled: its path, an ``onnx.ModelProto`` or an
            ``onnx_ir.Model``.
        quantized: The model that came out, likewise.
        images: Pictures, as ``zqc.compile`` takes them.
        labels: COCO labels of the pictures.
        anchors: The anchors of an SSD, an ``.npy`` of (cy, cx, h, w).
        input_format: How pixels become input values; ``"RGB"`` or ``"BGR"`` to find it from the
            BatchNorm statistics of the float model, or else take 0:1, in this order of channels.
        input_shape: Height and width, where both models leave them open.
        inputs: Values of inputs beside the picture by name; what the recipe in a compiled model
            says by default, or else the usual ones.
        limit: Use only the first so many pictures.
        threads: Threads inside an operator; all cores by default.
        progress: Where to report: True for bars; nowhere by default.

    Returns:
        How near the quantized model's outputs come, and its detections where the convention of the
        outputs is known; ``print`` shows it as the command does.

    Raises:
        ModelError: The models cannot be compared: inputs or outputs differ.
        InputShapeError: Height and width are open in both models and not given.
        RuntimeFailure: ONNX Runtime refuses one of them.
        ImageError: The pictures cannot be used.
        LabelError: The labels cannot be used or do not fit the pictures or the model.
        OptionError: Labels or anchors were given for outputs of an unknown convention, or the
            statistics do not show the input format.
        MissingPackageError: Labels were given, but average precision cannot be measured.
    """
    if labels is not None:
        extras.require(extras.COCO, "average precision")
    pixels, beside = images_of(images)
    with as_file(model_of(float_model)) as first, as_file(model_of(quantized)) as second:
        return _checked(
            (first, second),
            pixels,
            labels=to_path(labels),
            anchors=to_path(anchors),
            input_format=input_format,
            input_shape=input_shape,
            values={**beside, **values_of(inputs)},
            limit=limit,
            threads=threads,
            progress=progress_of(progress),
        )


def _checked(
    paths: tuple[Path, Path],
    images: Path | NDArray[Any],
    *,
    labels: Path | None,
    anchors: Path | None,
    input_format: InputFormat | ChannelOrder,
    input_shape: tuple[int, int] | None,
    values: Mapping[str, Sequence[float]],
    limit: int | None,
    threads: int | None,
    progress: Progress,
) -> CheckResult:
    """``check`` of files."""
    with progress.stage("Loading the models"):
        pair = (_open(paths[0], threads), _open(paths[1], threads))
    taken = _common(*pair, input_shape, values)
    _, channels, height, width = taken.shape
    shapes, compared = _output_shapes(*pair, taken.feeds(np.zeros(taken.shape, np.float32)))
    parts = _parts(pair[0], taken, compared)
    convention = recognise(
        Facts(
            shapes,
            height,
            width,
            metadata=dict(pair[0].part.metadata_props),
            graph=pair[0].part.graph,
            parts=parts,
            anchors=None if anchors is None else read_anchors(anchors),
            anchors_path=anchors,
        )
    )
    if isinstance(input_format, InputFormat):
        form, choice = given_format(input_format, pixels=taken.inputs.picture.holds_pixels)
    else:
        with progress.stage("Finding how pixels become input values"):
            form, choice = _input_format(pair[0], images, taken, input_format, threads=threads)
    pictures = open_images(
        images,
        channels=channels,
        height=height,
        width=width,
        input_format=form,
        mode="letterbox" if convention is None else convention.mode,
        limit=limit,
        input_name=taken.inputs.picture.name,
    )
    truth = None if labels is None else _read_truth(labels, pictures, convention, shapes)
    seen = _observe(pair, pictures, taken, parts, convention, progress)
    return CheckResult(
        images=len(pictures),
        input_choice=choice,
        parts=seen.parts,
        not_compared=tuple({**pair[1].left, **pair[0].left}.items()),
        convention="" if convention is None else convention.name,
        accuracy_float=None if truth is None else coco_accuracy(truth, seen.found_float),
        accuracy_quantized=None if truth is None else coco_accuracy(truth, seen.found_quantized),
        agreement=None if convention is None else _agreement(seen),
    )


def _agreement(seen: _Observed) -> Accuracy | None:
    """How near the detections of both models are, where it can be measured."""
    if not extras.installed(extras.COCO):
        logger.warning("%s", extras.missing(extras.COCO, "comparing detections"))
        return None
    return agreement(seen.found_float, seen.found_quantized)


def _observe(
    pair: tuple[_Model, _Model],
    pictures: ImageSet,
    taken: _Taken,
    parts: tuple[OutputPart, ...],
    convention: Convention | None,
    progress: Progress,
) -> _Observed:
    meter = OutputsMeter.of(parts)
    found: tuple[list[Detections], list[Detections]] = ([], [])
    with progress.task("Comparing", len(pictures)) as task:
        for tensors, placements in pictures.placed_batches(taken.shape[0]):
            feeds, count = taken.feeds(tensors), len(tensors)
            outputs = [_first(model(feeds), count, taken.shape[0]) for model in pair]
            meter.update(*outputs)
            if convention is not None:
                for side, values in zip(found, outputs, strict=True):
                    decoded = convention.decode(values)
                    side.extend(
                        one.in_picture(placement)
                        for one, placement in zip(decoded, placements, strict=True)
                    )
            task.advance(steps=len(tensors))
    return _Observed(meter.results(), tuple(found[0]), tuple(found[1]))


def _first(outputs: Outputs, count: int, batch: int) -> Outputs:
    """What belongs to the first so many pictures of a batch."""
    if count == batch:
        return outputs
    return {name: value[:count] for name, value in outputs.items()}


def _open(path: Path, threads: int | None) -> _Model:
    if not path.is_file():
        raise ModelError(f"model {path} does not exist")
    raw, part, ends = split_file(path)
    if not ends.reasons:
        runner = load(path, threads=threads)
    elif ends.foreign:
        runner = load(part, threads=threads)
    else:  # what cannot be compared can be run, and its instances have boxes
        new = {value.name for value in part.graph.outputs} - set(ends.outputs)
        raw.graph.outputs.extend(v for n in raw.graph for v in n.outputs if v.name in new)
        arrays = [
            v for v in raw.graph.outputs if v.type is None or isinstance(v.type, ir.TensorType)
        ]
        runner = load(raw, outputs=[v.name or "" for v in arrays], threads=threads)
    return _Model(path, runner, inputs_of(runner), part, ends.reasons)


def _common(
    first: _Model,
    second: _Model,
    input_shape: tuple[int, int] | None,
    values: Mapping[str, Sequence[float]],
) -> _Taken:
    """What both models can be fed with; an open batch is 1, open channels are 3."""
    models = [(model.path, model.inputs) for model in (first, second)]
    inputs = common_inputs(models, size=input_shape)
    recipe = recipe_in(second.runner)
    values = values or (recipe.inputs if recipe is not None else {})
    taken, shape = model_inputs(inputs, values)
    (picture,) = (one for one in inputs if one.name == taken.picture.name)
    declared = tuple(size for size in picture.sizes if isinstance(size, int))
    return _Taken(taken, values, shape, declared)


def _input_format(
    model: _Model,
    images: Path | NDArray[Any],
    taken: _Taken,
    order: ChannelOrder,
    *,
    threads: int | None,
) -> tuple[InputFormat, InputChoice]:
    """Find the input format of the float model; where it shows none, it is taken to be 0:1.

    Any two models may be compared, also those that ``model_io`` refuses, unless they have
    BatchNorm to find it from.
    """
    raw = ir.load(model.path)
    inlined = (node for function in raw.functions.values() for node in function.all_nodes())
    nodes = (*raw.graph.all_nodes(), *inlined)
    has_statistics = any(node.op_type == "BatchNormalization" for node in nodes)
    picture = taken.inputs.picture
    try:
        loaded = _loaded(model, taken)
    except ZqcError:
        if has_statistics:
            raise
        assumed = InputFormat.from_range(0, 255 if picture.holds_pixels else 1, is_bgr(order))
        return assumed, InputChoice(str(assumed), "assumed")
    ask = not holds_tensors(images, picture.name)
    return choose_input_format(
        loaded, asked=order, ask=ask, pixels=picture.holds_pixels, threads=threads
    )


def _loaded(model: _Model, taken: _Taken) -> ir.Model:
    """A file as ``compile`` reads it.

    Raises:
        ZqcError: It does not take the model.
    """
    size = taken.shape[2:]
    return model_file.load(model.path, input_shape=size, inputs=taken.values).model


def _output_shapes(
    first: _Model, second: _Model, zeros: Mapping[str, NDArray[np.generic]]
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """The shapes of the outputs of both models, and of those of them that are compared.

    Raises:
        ModelError: The two do not have the same outputs.
    """
    one, other = ({n: v.shape for n, v in model(zeros).items()} for model in (first, second))
    both = [name for name in first.compared if name in one and name in other]
    left = first.left.keys() | second.left.keys()
    # Of a file that others have quantized, what is compared before a selection may be gone.
    missing = (one.keys() ^ other.keys()) - left - (set(first.compared) if left else set())
    shapes = ({name: known[name] for name in both} for known in (one, other))
    if missing or (len({tuple(known.items()) for known in shapes}) > 1 and not first.selects):
        raise ModelError(
            f"the outputs differ: {_outputs(one)} in {first.path}, {_outputs(other)} in "
            f"{second.path}; give the model that was compiled"
        )
    return one, {name: one[name] for name in both}


def _read_truth(
    path: Path,
    pictures: ImageSet,
    convention: Convention | None,
    shapes: dict[str, tuple[int, ...]],
) -> list[Truth]:
    if convention is None:
        raise OptionError(
            f"labels were given, but it is not known how the outputs ({_outputs(shapes)}) hold "
            "boxes and scores; leave the labels out, or give the anchors if this is an SSD"
        )
    labels = read_labels(path)
    if 0 < convention.classes < len(labels.categories):
        raise LabelError(
            f"{path} has {len(labels.categories)} categories, but the model knows "
            f"{convention.classes} classes"
        )
    return labels.of(pictures.names)


def _parts(
    model: _Model, taken: _Taken, outputs: dict[str, tuple[int, ...]]
) -> tuple[OutputPart, ...]:
    """The parts of the outputs; where the file does not show them, those of its simplified graph.

    Exporters that fold no constants compute the shapes of a Reshape, and a layout with such a shape
    cannot be traced.
    """
    name = taken.inputs.picture.name
    graph_model = _with_shapes(model.part, name, taken.declared, outputs)
    parts = output_parts(graph_model)
    if all(part.kind != "raw" for part in parts):
        return parts
    try:
        simplified = _loaded(model, taken)
    except ZqcError:  # any two models may be compared
        return parts
    if not set(outputs) <= {value.name for value in simplified.graph.outputs}:
        return parts
    return output_parts(_with_shapes(simplified, name, taken.shape, outputs))


def _with_shapes(
    model: ir.Model,
    input_name: str,
    shape: tuple[int, ...],
    outputs: dict[str, tuple[int, ...]],
) -> ir.Model:
    """A copy of a model with some of its outputs and their shapes, and that of its input."""
    copy = model.clone()
    for value in copy.graph.inputs:
        if value.name == input_name:
            value.shape = ir.Shape(shape)
    found = {value.name: value for value in copy.graph.outputs}
    copy.graph.outputs.clear()
    for name, sizes in outputs.items():
        found[name].shape = ir.Shape(sizes)
        copy.graph.outputs.append(found[name])
    return copy


def _outputs(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {_shape(shape)}" for name, shape in shapes.items())


def _shape(sizes: Sequence[int | None]) -> str:
    return " x ".join("?" if size is None else str(size) for size in sizes)


@dataclass(frozen=True)
class CheckResult(Printable):
    """The outcome of ``zqc.check``.

    Attributes:
        images: Number of pictures.
        input_choice: How pixels become input values.
        parts: Agreement of the outputs, per part.
        convention: Name of the recognised output convention; empty when there is none.
        accuracy_float: Against the labels, when there are any.
        accuracy_quantized: Likewise.
        agreement: AP of the quantized model's detections against the float model's.
        not_compared: Outputs that ``parts`` says nothing of, by name, with why.
    """

    text_by = ("zqc.report.text", "checked")

    images: int
    input_choice: InputChoice
    parts: tuple[PartAgreement, ...]
    convention: str = ""
    accuracy_float: Accuracy | None = None
    accuracy_quantized: Accuracy | None = None
    agreement: Accuracy | None = None
    not_compared: tuple[tuple[str, str], ...] = ()
