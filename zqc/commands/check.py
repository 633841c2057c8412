"""Comparing a quantized model with its float model on pictures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from zqc.commands import advice, limits
from zqc.commands.arguments import ImagesLike, ModelLike, images_of, model_of, progress_of
from zqc.commands.detector import Detector
from zqc.commands.labelled import Labelled, labelled
from zqc.commands.layer_defects import layer_defects
from zqc.commands.made_pictures import made_pictures
from zqc.commands.pair import Pair, open_pair
from zqc.detection.agreement import PartAgreement
from zqc.detection.average_precision import Accuracy, agreement
from zqc.detection.bootstrap import Interval
from zqc.detection.comparison import Comparison, Renamed, compare
from zqc.detection.conventions.anchors_file import read_anchors
from zqc.detection.labels.dataset_yaml import read_dataset
from zqc.detection.labels.names import given_names
from zqc.detection.pairing import Pairing, pair_detections
from zqc.detection.verdict import Evidence, Verdict, judge
from zqc.diagnosis.defects import Defect
from zqc.errors import OptionError
from zqc.files import to_path
from zqc.model_io.model_file import LoadedModel
from zqc.model_io.onnx_file import as_file
from zqc.pictures.images import SUFFIXES, ImageSet, holds_tensors, open_images
from zqc.pictures.input_format import ChannelOrder, Fit, InputFormat, is_bgr
from zqc.recipe.recipe import values_of
from zqc.recipe.toml import to_toml
from zqc.report.printing import Printable
from zqc.runtime import extras
from zqc.statistics.input_choice import InputChoice, choose_input_format, given_format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zqc.commands.limits import Limit
    from zqc.files import FilePath
    from zqc.progress import Progress


@dataclass(frozen=True, eq=False)
class Shown:
    """What a report draws of a comparison.

    Attributes:
        pictures: The pictures.
        input_format: From their pixels to input tensors.
        comparison: What both models find in them.
        truth: The labelled boxes, if there are any.
    """

    pictures: ImageSet
    input_format: InputFormat
    comparison: Comparison
    truth: Labelled | None


@dataclass(frozen=True)
class CheckResult(Printable):
    """The outcome of ``zqc.check``.

    Attributes:
        verdict: Whether the quantized model is still good.
        images: Number of pictures.
        pictures: Where they come from, in words.
        made_up: Whether they were synthesised, or are structured noise.
        input_choice: How pixels become input values.
        fit: How pictures of another size get into the input.
        parts: Agreement of the outputs, per part.
        detector: How detections are read from the outputs, or why they are not, in words.
        convention: Name of the recognised output convention; empty when there is none.
        classes: Names of the model's classes; empty where they are unknown.
        accuracy_float: Against the labels, when there are any.
        accuracy_quantized: Likewise.
        difference: Of the two, quantized minus float, with an interval.
        agreement: AP of the quantized model's detections against the float model's.
        pairing: How the detections of both models pair.
        worst: File name and F1 of the pictures in which they differ most.
        defects: Layers of which it is certain that no rounding made them what they are.
        not_compared: Outputs that ``parts`` says nothing of, by name, with why.
        notes: What should be known of the comparison.
        limits: What was demanded, and whether it holds.
        float_model: The float model's file.
        quantized: The quantized model's.
        precision: Such as ``w4a8``, where zqc has compiled it.
        target: What it was compiled for, likewise.
        recipe: What it was compiled with, as TOML, likewise.
        bytes_float: Size of the float model's file.
        bytes_quantized: Size of the quantized model's.
        shown: What a report draws.
    """

    text_by = ("zqc.report.check_text", "checked")

    verdict: Verdict
    images: int
    pictures: str
    made_up: bool
    input_choice: InputChoice
    fit: str
    parts: tuple[PartAgreement, ...]
    detector: str = ""
    convention: str = ""
    classes: tuple[str, ...] = ()
    accuracy_float: Accuracy | None = None
    accuracy_quantized: Accuracy | None = None
    difference: Interval | None = None
    agreement: Accuracy | None = None
    pairing: Pairing | None = None
    worst: tuple[tuple[str, float], ...] = ()
    defects: tuple[Defect, ...] = ()
    not_compared: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    float_model: str = ""
    quantized: str = ""
    precision: str = ""
    target: str = ""
    recipe: str = ""
    bytes_float: int = 0
    bytes_quantized: int = 0
    shown: Shown | None = field(default=None, repr=False, compare=False, metadata={"json": False})

    @property
    def passed(self) -> bool:
        """Whether everything that was demanded holds."""
        return all(limit.met for limit in self.limits)


_WORST = 12


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
    """
    label_path = to_path(labels)
    limits.check(min_agreement, max_drop, labelled=label_path is not None)
    if label_path is not None:
        extras.require(extras.COCO, "average precision")
    if images is None and label_path is not None:
        images = _pictures_of(label_path)
    pixels, beside = images_of(images)
    with as_file(model_of(float_model)) as first, as_file(model_of(quantized)) as second:
        return _checked(
            (first, second),
            pixels,
            labels=label_path,
            names=names,
            anchors=to_path(anchors),
            decoder=decoder,
            fit=fit,
            asked=input_format,
            input_shape=input_shape,
            values={**beside, **values_of(inputs)},
            demanded=(min_agreement, max_drop),
            limit=limit,
            threads=threads,
            progress=progress_of(progress),
        )


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
    real = images is not None and not pictures.synthesised
    return _result(
        pair,
        detector,
        Shown(pictures, form, seen, truth),
        choice=choice,
        fit=mode if images is not None else "",
        real=real,
        odd=odd,
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


def _result(
    pair: Pair,
    detector: Detector,
    shown: Shown,
    *,
    choice: InputChoice,
    fit: str,
    real: bool,
    odd: tuple[Defect, ...],
    demanded: tuple[float | None, float | None],
) -> CheckResult:
    seen, truth, names = shown.comparison, shown.truth, dict(enumerate(detector.names))
    pairing, agreed, notes = None, None, []
    renamed: tuple[Renamed, ...] = ()
    if detector.convention is not None:
        pairing = pair_detections(seen.reference, seen.quantized, names=names)
        if extras.installed(extras.COCO):
            least = pairing.score_threshold
            agreed = agreement(
                seen.reference, seen.quantized, least, names=names, windows=seen.windows
            )
        else:
            notes.append(str(extras.missing(extras.COCO, "comparing detections by AP")))
        renamed = seen.renamed_classes(pairing.score_threshold, names)
        if pairing.lowered:
            notes.append(
                f"the float model has no score above 0.3 in these pictures: detections above "
                f"{pairing.score_threshold:.3g} are compared"
            )
    accuracy = None if truth is None else truth.accuracy(seen)
    notes += () if truth is None else truth.notes
    verdict = judge(
        Evidence(
            seen.parts,
            real=real,
            agreement=agreed,
            pairing=pairing,
            renamed=renamed,
            defects=[f"layer {one.layer}: {one.reason}" for one in odd],
            labelled=None if accuracy is None else accuracy[:2],
        )
    )
    command = advice.after_check(
        verdict, pair, real=real, faulty=bool(renamed or odd), anchors=detector.facts.anchors_path
    )
    worst = () if pairing is None else pairing.pictures[:_WORST]
    return CheckResult(
        verdict=replace(verdict, advice=command),
        images=len(shown.pictures),
        pictures=shown.pictures.source,
        made_up=not real,
        input_choice=choice,
        fit=fit,
        parts=seen.parts,
        detector=detector.text,
        convention="" if detector.convention is None else detector.convention.name,
        classes=detector.names,
        accuracy_float=None if accuracy is None else accuracy[0],
        accuracy_quantized=None if accuracy is None else accuracy[1],
        difference=None if accuracy is None else accuracy[2],
        agreement=agreed,
        pairing=pairing,
        worst=tuple((shown.pictures.names[index], f1) for index, f1 in worst),
        defects=odd,
        not_compared=tuple({**pair.second.left, **pair.first.left}.items()),
        notes=tuple(notes),
        limits=limits.measured(demanded, agreed, None if accuracy is None else accuracy[:2]),
        float_model=str(pair.first.path),
        quantized=str(pair.second.path),
        precision="" if pair.recipe is None else pair.recipe.precision,
        target="" if pair.recipe is None else pair.recipe.target,
        recipe="" if pair.recipe is None else to_toml(pair.recipe),
        bytes_float=pair.first.path.stat().st_size,
        bytes_quantized=pair.second.path.stat().st_size,
        shown=shown,
    )
