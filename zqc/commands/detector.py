"""What is known of a detector: how its outputs are read, and how pictures get into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zqc.detection.conventions.anchors_file import read_anchors
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import class_names, recognise, unknown
from zqc.detection.parts import output_parts
from zqc.pictures.model_input import fixed_batch, input_name, picture_shape
from zqc.runtime import session

if TYPE_CHECKING:
    from pathlib import Path

    from zqc.detection.conventions.convention import Convention
    from zqc.model_io.model_file import LoadedModel
    from zqc.pictures.input_format import Fit, FitMode

_NAMES_SHOWN = 4


@dataclass(frozen=True, eq=False)
class Detector:
    """How the outputs of a detector are read.

    Attributes:
        convention: The convention that they follow; None where none is known.
        names: Names of the classes; empty where they are unknown.
        facts: What it was recognised from.
    """

    convention: Convention | None
    names: tuple[str, ...]
    facts: Facts

    def fit(self, asked: Fit = "auto") -> FitMode:
        """How pictures of another size get into the input."""
        if asked != "auto":
            return asked
        return "letterbox" if self.convention is None else self.convention.mode

    @classmethod
    def of(cls, facts: Facts, decoder: str | None = None, names: tuple[str, ...] = ()) -> Detector:
        """Recognise a detector, or read it as the user says; given names are its classes' names.

        Raises:
            OptionError: What the user gave does not fit its outputs.
        """
        convention = recognise(facts, decoder)
        known = facts.names if convention is None else class_names(convention, facts)
        return cls(convention, names or known, facts)

    @property
    def text(self) -> str:
        """The convention and the classes in words."""
        if self.convention is None:
            return unknown(self.facts)
        count = self.convention.classes
        shown = ", ".join(self.names[:_NAMES_SHOWN]) + ", …" * (len(self.names) > _NAMES_SHOWN)
        classes = "1 class" if count == 1 else f"{count} classes"
        named = f" ({shown})" if shown else ""
        return f"{self.convention.name}, {self.convention.task}, {classes}{named}"


def detector_of(
    loaded: LoadedModel,
    *,
    anchors: Path | None = None,
    decoder: str | None = None,
    whole: bool = True,
) -> Detector:
    """Recognise a detector that was loaded; it is run once on zeros for the sizes of its outputs.

    Args:
        loaded: The model.
        anchors: The file of an SSD's anchors.
        decoder: What reads its outputs as the user says, see ``recognise``.
        whole: Whether its own outputs are read, or those of what of it can be compared.

    Raises:
        OptionError: The anchors or the decoder do not fit.
        RuntimeFailure: ONNX Runtime refuses it.
    """
    model, taken = loaded.model, loaded.interface.taken
    batch, sizes = fixed_batch(model) or 1, picture_shape(model)
    zeros = np.zeros((batch, *sizes), np.float32)
    feeds = taken.feeds(zeros) if whole else {input_name(model): zeros}
    outputs = session.load(loaded.runnable() if whole else model, threads=1)(feeds)
    shown = loaded.whole() if whole else model
    facts = Facts(
        {name: a.shape for name, a in outputs.items() if isinstance(a, np.ndarray)},  # no sequences
        *sizes[1:],
        metadata=dict(shown.metadata_props),
        graph=shown.graph,
        parts=output_parts(model),
        anchors=None if anchors is None else read_anchors(anchors),
        anchors_path=anchors,
    )
    return Detector.of(facts, decoder)
