"""What it is worth that sensitivities are measured by what is found, not by the outputs alone.

    python -m tools.study.sensitivity_parts MODELS PICTURES [--zoo FOLDER] [--detectors yolov8]
        [--precisions W4A4] [--seeds 0] [--effort quick] [--threads 1]

MODELS, PICTURES and FOLDER are as in ``tools.study.calibration_sources``. The columns:

- ``outputs``: the outputs where the post-processing begins, each of which counts the same;
- ``and detections``: and boxes and classes, by the loss of agreement, as by default.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from unittest.mock import patch

from tools.study.columns import study
from zqc.calibration import sensitivity

COLUMNS = {
    "outputs": partial(patch.object, sensitivity, "detection_sensitivities", return_value=()),
    "and detections": nullcontext,
}

main = study(COLUMNS)


if __name__ == "__main__":
    main()
