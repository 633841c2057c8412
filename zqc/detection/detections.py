"""What a detector has found in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import to_picture
from zqc.detection.masks import Masks
from zqc.pictures.images import PicturePlacement


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one picture, best first.

    Attributes:
        boxes: (x1, y1, x2, y2) in pixels, shape (n, 4); of something rotated or outlined, the
            upright box around it.
        scores: In 0…1, shape (n,).
        labels: Index of the class, shape (n,).
        keypoints: (x, y, visibility) in pixels, shape (n, K, 3); None but for poses.
        corners: The corners of rotated boxes in order, (x, y) in pixels, shape (n, 4, 2); None but
            for those.
        masks: Which pixels of the input are covered, on a grid of any size over the whole input;
            None but for segmentation.
    """

    boxes: NDArray[np.floating]
    scores: NDArray[np.floating]
    labels: NDArray[np.int64]
    keypoints: NDArray[np.floating] | None = None
    corners: NDArray[np.floating] | None = None
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, which: NDArray[np.generic] | Sequence[int]) -> Detections:
        """Only some of them, by index or by a truth value for each."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{n: a[which] for n, a in arrays.items() if a is not None})

    def above(self, threshold: float) -> Detections:
        """Only the detections whose score is greater than ``threshold``."""
        return self.take(self.scores > threshold)

    def in_picture(self, placement: PicturePlacement) -> Detections:
        """The same in pixels of the original picture, boxes cut at its borders.

        What lies outside of it, so that no area is left, is gone. Masks stay as they are: on a grid
        over the input.
        """
        boxes = to_picture(self.boxes, placement)
        offset = np.array([placement.left, placement.top])
        scale = np.array([placement.scale_x, placement.scale_y])
        keypoints, corners = self.keypoints, self.corners
        if keypoints is not None:
            places = (keypoints[..., :2] - offset) / scale
            keypoints = np.concatenate([places, keypoints[..., 2:]], axis=-1)
        if corners is not None:
            corners = (corners - offset) / scale
        placed = replace(self, boxes=boxes, keypoints=keypoints, corners=corners)
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return placed if inside.all() else placed.take(inside)
