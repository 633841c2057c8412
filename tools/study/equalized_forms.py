"""What forms of equalization are worth with few bits, and whether the better one is found.

    python -m tools.study.equalized_forms MODELS PICTURES [--zoo FOLDER] [--detectors yolov8]
        [--precisions W4A4] [--seeds 0] [--effort quick] [--threads 1]

MODELS, PICTURES and FOLDER are as in ``tools.study.calibration_sources``. The columns are no
equalization, ranges of channels taken as so many times as large as they are, and the default, which
chooses between the first and 1.5 by what activations cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

from tools.study.columns import study
from zqc import pipeline
from zqc.quantization import equalize
from zqc.quantization.candidates import Candidate

HEADROOMS = (1.0, 1.2, 1.35, 1.5, 1.7, 2.0)


def _last(_: object, candidates: Sequence[Candidate], *__: Any) -> Candidate:
    return candidates[-1]


def _first(_: object, candidates: Sequence[Candidate], *__: Any) -> Candidate:
    return candidates[0]


@contextmanager
def _with_headroom(headroom: float) -> Iterator[None]:
    with patch.object(equalize, "_HEADROOM", headroom), patch.object(pipeline, "_better", _last):
        yield


COLUMNS = {
    "none": partial(patch.object, pipeline, "_better", _first),
    **{str(headroom): partial(_with_headroom, headroom) for headroom in HEADROOMS},
    "default": nullcontext,
}

main = study(COLUMNS)


if __name__ == "__main__":
    main()
