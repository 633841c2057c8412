"""Which convention the outputs of a detector follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zqc.detection.conventions import described, user_decoder
from zqc.detection.conventions.centernet import CenterNet
from zqc.detection.conventions.convention import Convention, Facts, Family
from zqc.detection.conventions.decoded import BoxesAndScores
from zqc.detection.conventions.description import read_description
from zqc.detection.conventions.end_to_end import EndToEnd
from zqc.detection.conventions.end_to_end_candidates import EndToEndCandidates
from zqc.detection.conventions.fcos import Fcos, TorchvisionFcos
from zqc.detection.conventions.gfl import NanoDet, PicoDet
from zqc.detection.conventions.queries import Detr, UltralyticsDetr
from zqc.detection.conventions.retinanet import EfficientDet, RetinaNet
from zqc.detection.conventions.rtmdet import RtmDet
from zqc.detection.conventions.selected import EfficientNms, MmDeploy, Paddle, TensorFlow
from zqc.detection.conventions.ssd import SsdLite
from zqc.detection.conventions.text import DbNet
from zqc.detection.conventions.torchvision import Torchvision
from zqc.detection.conventions.yolo import Yolo
from zqc.detection.conventions.yolo_obb import YoloObb
from zqc.detection.conventions.yolo_objectness import YoloObjectness
from zqc.detection.conventions.yolo_pose import YoloPose
from zqc.detection.conventions.yolo_raw import YoloRaw
from zqc.detection.conventions.yolo_segment import YoloSegment
from zqc.detection.conventions.yolov3 import YoloV3
from zqc.detection.conventions.yolox import YoloX

CONVENTIONS: tuple[type[Family], ...] = (
    SsdLite,
    EndToEnd,
    EndToEndCandidates,
    Yolo,
    YoloPose,
    YoloObb,
    YoloSegment,
    YoloRaw,
    YoloObjectness,
    YoloX,
    YoloV3,
    Torchvision,
    TensorFlow,
    EfficientNms,
    MmDeploy,
    Paddle,
    Detr,
    UltralyticsDetr,
    NanoDet,
    PicoDet,
    EfficientDet,
    RetinaNet,
    TorchvisionFcos,
    Fcos,
    RtmDet,
    CenterNet,
    DbNet,
    BoxesAndScores,
)
"""Every family, in the order in which they are asked: the first that knows its own is taken."""


def recognise(facts: Facts, decoder: str | None = None) -> Convention | None:
    """Find the convention that a detector's outputs follow.

    Args:
        facts: What is known of the detector.
        decoder: What the user says instead: a function of their own (``module:function``, see
            ``user_decoder``) or a description (``FILE.toml``, see ``described``).

    Returns:
        None when no family knows them: a guess would be worse.

    Raises:
        OptionError: What the user gave, such as anchors, does not fit the outputs.
    """
    if decoder is None:
        own = _own_outputs(facts)
        return next((found for family in CONVENTIONS if (found := family.of(own))), None)
    if decoder.endswith(".toml"):
        return described.described(read_description(Path(decoder)), facts, CONVENTIONS)
    return user_decoder.load(decoder, facts)


def class_names(convention: Convention, facts: Facts) -> tuple[str, ...]:
    """Names of a detector's classes: those that the user gave, or else those in the file."""
    if isinstance(convention, described.AsTold | user_decoder.UserDecoder):
        return convention.names or facts.names
    return facts.names


def unknown(facts: Facts) -> str:
    """Why no convention fits a detector, and what to do; a sentence for people."""
    if facts.task == "classify":
        return (
            f"the file says that it classifies pictures, and its outputs ({facts.shape_text()}) "
            "have no boxes: only values of outputs can be compared"
        )
    told = f" although the file says that its task is {facts.task!r}" if facts.task else ""
    return (
        f"it is not known how the outputs ({facts.shape_text()}) hold boxes and scores{told}; "
        "describe them in a file (--decoder FILE.toml), give a function that decodes them "
        "(--decoder module:function), or the anchors if this is an SSD (--anchors)"
    )


def _own_outputs(facts: Facts) -> Facts:
    """The same without what is an output only to be compared: what a selection reads."""
    if facts.graph is None:
        return facts
    own = {value.name for value in facts.graph.outputs}
    outputs = {name: shape for name, shape in facts.outputs.items() if name in own}
    return replace(facts, outputs=outputs) if outputs else facts
