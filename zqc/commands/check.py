"""Comparing a quantized model with its float model on pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from zqc.commands import limits
from zqc.commands.arguments import (
    ImagesLike,
    ModelLike,
    check_outputs,
    images_of,
    model_of,
    progress_of,
)
from zqc.commands.check_result import CheckResult, Shown, result_of
from zqc.commands.detector import Detector
from zqc.commands.labelled import labelled
from zqc.commands.layer_defects import layer_defects
from zqc.commands.made_pictures import made_pictures
from zqc.commands.pair import Pair, open_pair
from zqc.commands.saturation_seen import saturation_seen
from zqc.detection.comparison import compare
from zqc.detection.conventions.anchors_file import read_anchors
from zqc.detection.labels.dataset_yaml import read_dataset
from zqc.detection.labels.names import given_names
from zqc.errors import OptionError
from zqc.files.inputs import input_path
from zqc.files.places import to_path
from zqc.model_io.model_file import LoadedModel
from zqc.model_io.onnx_file import as_file
from zqc.pictures.images import SUFFIXES, holds_tensors, open_images
from zqc.pictures.input_format import ChannelOrder, Fit, InputFormat, is_bgr
from zqc.recipe.recipe import values_of
from zqc.report.html import render
from zqc.report.html.from_check import checked_page
from zqc.runtime import extras
from zqc.statistics.input_choice import InputChoice, choose_input_format, given_format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zqc.files.places import FilePath
    from zqc.progress import Progress


def check(
    float_model: ModelLike,
    quantized: ModelLike,
    *,
    images: ImagesLike | None = None,
    labels: FilePath | None = None,
    names: str | Sequence[str] | None = None,
    anchors: FilePath | None = None,
    decoder: str | None = None,
    fit: Fit = "auto",
    input_format: InputFormat | ChannelOrder = "RGB",
    input_shape: tuple[int, int] | None = None,
    inputs: Mapping[str, Any] | None = None,
    min_agreement: float | None = None,
    max_drop: float | None = None,
    limit: int | None = None,
    threads: int | None = None,
    progress: Progress | bool | None = None,
    report: FilePath | None = None,
) -> CheckResult:
    """Run both models over pictures, compare what comes out, and judge the quantized one.

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
        images: Pictures, as ``zqc.compile`` takes them; by default those of a dataset's YAML that
            is given for labels, or else some that are synthesised.
        labels: Labels of the pictures: a COCO ``.json``, a folder of YOLO's ``.txt`` or Pascal
            VOC's ``.xml``, or a dataset's ``.yaml``.
        names: Names of the model's classes in order, a text with commas between them, or a file
            with one in each line, for a model whose metadata does not name them.
        anchors: The anchors of an SSD, an ``.npy`` of (cy, cx, h, w).
        decoder: What reads the outputs: ``module:function`` or a TOML file, see
            ``zqc.detection.conventions.user_decoder``.
        fit: How pictures of another size get into the input; by default as the recipe in a
            compiled model says, or as the detector's family usually has it.
        input_format: How pixels become input values; ``"RGB"`` or ``"BGR"`` for what the recipe in
            a compiled model says, or else the BatchNorm statistics of the float model, or else 0:1,
            in this order of channels.
        input_shape: Height and width, where both models leave them open.
        inputs: Values of inputs beside the picture by name; what the recipe in a compiled model
            says by default, or else the usual ones.
        min_agreement: The least AP of the detections against the float model's, in percent.
        max_drop: The most that mAP may lose against the labels, in points.
        limit: Use only the first so many pictures.
        threads: Threads inside an operator; all cores by default.
        progress: Where to report: True for bars; nowhere by default.
        report: The HTML file to write a report to; none by default.

    Returns:
        How near the quantized model comes, and a verdict; ``print`` shows it as the command does.
        Whether the demanded limits hold, ``passed`` says.

    Raises:
        ModelError: The models cannot be compared: inputs or outputs differ.
        InputShapeError: Height and width are open in both models and not given.
        RuntimeFailure: ONNX Runtime refuses one of them.
        ImageError: The pictures cannot be used.
        LabelError: The labels cannot be used or do not fit the pictures or the model.
        OptionError: Labels, anchors or limits were given for outputs of an unknown convention, or
            the statistics do not show the input format.
        MissingPackageError: Labels were given, but average precision cannot be measured.
        OutputError: The report cannot be written.
    """
    label_path, anchors_path, page = input_path(labels), input_path(anchors), to_path(report)
    limits.check(min_agreement, max_drop, labelled=label_path is not None)
    if label_path is not None:
        extras.require(extras.COCO, "average precision")
    if images is None and label_path is not None:
        images = _pictures_of(label_path)
    pixels, beside = images_of(images)
    progress, models = progress_of(progress), (model_of(float_model), model_of(quantized))
    check_outputs((), *models, pixels, label_path, anchors_path, report=page)
    with as_file(models[0]) as first, as_file(models[1]) as second:
        result = _checked(
            (first, second),
            pixels,
            labels=label_path,
            names=names,
            anchors=anchors_path,
            decoder=decoder,
            fit=fit,
            asked=input_format,
            input_shape=input_shape,
            values={**beside, **values_of(inputs)},
            demanded=(min_agreement, max_drop),
            limit=limit,
            threads=threads,
            progress=progress,
        )
    if page is not None:
        with progress.stage(f"Writing {page}"):
            render.write(page, checked_page(result))
    return result


def _checked(
    paths: tuple[Path, Path],
    images: Path | NDArray[Any] | None,
    *,
    labels: Path | None,
    names: str | Sequence[str] | None,
    anchors: Path | None,
    decoder: str | None,
    fit: Fit,
    asked: InputFormat | ChannelOrder,
    input_shape: tuple[int, int] | None,
    values: Mapping[str, Sequence[float]],
    demanded: tuple[float | None, float | None],
    limit: int | None,
    threads: int | None,
    progress: Progress,
) -> CheckResult:
    """``check`` of files."""
    with progress.stage("Loading the models"):
        pair = open_pair(paths, input_shape=input_shape, values=values, threads=threads)
        given = given_names(names) if isinstance(names, str) else tuple(names or ())
        detector = _detector(pair, given, anchors, decoder)
    limits.check_convention(demanded[0], detector)
    if fit == "auto" and pair.recipe is not None:
        fit = pair.recipe.fit
    mode = detector.fit(fit)
    if images is None:
        made = made_pictures(pair, asked, limit=limit, threads=threads, progress=progress)
        pictures, form, choice = made
    else:
        with progress.stage("Finding how pixels become input values"):
            form, choice = _input_format(pair, images, asked, threads=threads)
        _, channels, height, width = pair.shape
        pictures = open_images(
            images,
            channels=channels,
            height=height,
            width=width,
            input_format=form,
            mode=mode,
            limit=limit,
            input_name=pair.inputs.picture.name,
        )
    truth = None if labels is None else labelled(labels, pictures, detector, given)
    with progress.task("Comparing", len(pictures)) as task:
        batches = pictures.placed_batches(pair.shape[0])
        seen = compare(pair.run, batches, pair.parts, detector.convention, task=task)
    with progress.stage("Comparing layers"):
        odd = layer_defects(pair, pictures, threads=threads)
        saturated = saturation_seen(pair, pictures, threads=threads)
    real = images is not None and not pictures.synthesised
    return result_of(
        pair,
        detector,
        Shown(pictures, form, seen, truth, images if isinstance(images, Path) else None),
        choice=choice,
        fit=mode if images is not None else "",
        real=real,
        odd=odd,
        saturated=saturated,
        demanded=demanded,
    )


def _pictures_of(labels: Path) -> Path:
    """The folder of the pictures that a dataset's YAML describes.

    Raises:
        LabelError: The YAML cannot be used.
        OptionError: The labels are in another format, the pictures in several folders, or in one
            with others, which would count as pictures without any object.
    """
    if labels.suffix.lower() not in (".yaml", ".yml"):
        raise OptionError("labels need the pictures that they belong to; give --images")
    dataset = read_dataset(labels)
    folder = dataset.folder
    if folder is None:
        raise OptionError(f"the pictures of {labels} are in several folders; give one as --images")
    count = sum(file.suffix.lower() in SUFFIXES for file in folder.iterdir())
    if count > len(dataset.pictures):
        raise OptionError(
            f"{labels} names {len(dataset.pictures)} of the {count} pictures in {folder}; put "
            "these into a folder of their own and give it as --images"
        )
    return folder


def _detector(
    pair: Pair,
    names: tuple[str, ...],
    anchors: Path | None,
    decoder: str | None,
) -> Detector:
    facts = pair.facts()
    if anchors is not None:
        facts = replace(facts, anchors=read_anchors(anchors), anchors_path=anchors)
    return Detector.of(facts, decoder, names)


def _input_format(
    pair: Pair,
    images: Path | NDArray[Any],
    asked: InputFormat | ChannelOrder,
    *,
    threads: int | None,
) -> tuple[InputFormat, InputChoice]:
    """How pixels become values: as given, as compiled, or as the float model shows it, else 0:1.

    Any two models may be compared, also those that ``model_io`` refuses, unless they have
    BatchNorm to find it from.
    """
    picture = pair.inputs.picture
    if isinstance(asked, InputFormat):
        return given_format(asked, pixels=picture.holds_pixels)
    if pair.recipe is not None and isinstance(pair.recipe.input_format, InputFormat):
        form = pair.recipe.input_format
        form = replace(form, bgr=True) if is_bgr(asked) else form
        return form, InputChoice(str(form), "recipe")
    if not isinstance(pair.loaded, LoadedModel):
        if _has_batchnorm(pair.first.path):
            raise pair.loaded
        assumed = InputFormat.from_range(0, 255 if picture.holds_pixels else 1, is_bgr(asked))
        return assumed, InputChoice(str(assumed), "assumed")
    ask = not holds_tensors(images, picture.name)
    return choose_input_format(
        pair.loaded.model, asked=asked, ask=ask, pixels=picture.holds_pixels, threads=threads
    )


def _has_batchnorm(path: Path) -> bool:
    raw = ir.load(path)
    inlined = (node for function in raw.functions.values() for node in function.all_nodes())
    nodes = (*raw.graph.all_nodes(), *inlined)
    return any(node.op_type == "BatchNormalization" for node in nodes)
