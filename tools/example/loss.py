"""Assigning anchors to objects and the loss of the detector.

Assignment: Feng et al., TOOD: Task-aligned One-stage Object Detection, ICCV 2021, section 3.
Boxes: complete IoU (Zheng et al., Distance-IoU Loss, AAAI 2020) and distribution focal loss
(Li et al., Generalized Focal Loss, NeurIPS 2020). Classes: binary cross entropy against the
normalised alignment.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from tools.example.network import BINS, anchor_points

BEST = 10  # anchors per object
SCORE_POWER, IOU_POWER = 0.5, 6.0
BOX_GAIN, CLASS_GAIN, DFL_GAIN = 7.5, 0.5, 1.5
TINY = 1e-9


def assign(
    scores: Tensor, boxes: Tensor, points: Tensor, objects: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the anchors that answer for each object.

    scores (N, A, C) probabilities, boxes (N, A, 4) predicted corners, points (A, 2), objects
    (N, M, 4) corners and labels (N, M), -1 for none; all lengths in pixels. Returns the index of
    the object of each anchor (N, A), whether it has one (N, A), and its target score (N, A).
    """
    real = labels >= 0
    inside = (points > objects[:, :, None, :2]) & (points < objects[:, :, None, 2:])
    inside = inside.all(-1) & real[:, :, None]
    overlap = iou(objects[:, :, None], boxes[:, None]).clamp(min=0) * inside
    wanted = labels.clamp(min=0)[:, :, None].expand(-1, -1, scores.shape[1])
    probability = scores.transpose(1, 2).gather(1, wanted)
    alignment = probability**SCORE_POWER * overlap**IOU_POWER * inside

    chosen = torch.zeros_like(inside)
    chosen.scatter_(2, alignment.topk(BEST, dim=2).indices, True)
    chosen &= inside
    owner = overlap.masked_fill(~chosen, -1).argmax(dim=1)
    chosen &= functional.one_hot(owner, labels.shape[1]).transpose(1, 2).bool()

    alignment = alignment * chosen
    best_overlap = (overlap * chosen).amax(dim=2, keepdim=True)
    best_alignment = alignment.amax(dim=2, keepdim=True)
    target = (alignment * best_overlap / (best_alignment + TINY)).amax(dim=1)
    return owner, chosen.any(dim=1), target


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of corner boxes (..., 4), broadcast."""
    return _intersection_and_union(one, other)[0]


def complete_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU less the penalties for distant centres and for different aspect ratios."""
    plain, width1, height1, width2, height2 = _intersection_and_union(one, other)
    hull = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])
    apart = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    distance = apart.square().sum(-1) / (hull.square().sum(-1) + TINY)
    angle = torch.atan(width2 / (height2 + TINY)) - torch.atan(width1 / (height1 + TINY))
    aspect = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        weight = aspect / (1 - plain + aspect + TINY)
    return plain - distance - weight * aspect


def _intersection_and_union(one: Tensor, other: Tensor) -> tuple[Tensor, ...]:
    low = torch.maximum(one[..., :2], other[..., :2])
    high = torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    width1, height1 = (one[..., 2:] - one[..., :2]).unbind(-1)
    width2, height2 = (other[..., 2:] - other[..., :2]).unbind(-1)
    union = width1 * height1 + width2 * height2 - shared
    return shared / (union + TINY), width1, height1, width2, height2


class DetectionLoss:
    """The training loss of raw predictions for pictures of one size."""

    def __init__(self, *, size: int) -> None:
        self.points, self.strides = anchor_points(size)
        self.bins = torch.arange(BINS, dtype=torch.float32)

    def __call__(self, raw: Tensor, objects: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum to minimise and its parts (box, class, distribution), detached.

        raw (N, 4 * BINS + C, A), objects (N, M, 4) in pixels, labels (N, M), -1 for none.
        """
        raw = raw.float().transpose(1, 2)
        logits = raw[..., 4 * BINS :]
        sides = raw[..., : 4 * BINS].unflatten(-1, (4, BINS))
        distances = sides.softmax(-1) @ self.bins
        boxes = torch.cat((self.points - distances[..., :2], self.points + distances[..., 2:]), -1)
        step = self.strides[:, None]
        with torch.no_grad():
            owner, positive, target = assign(
                logits.sigmoid(), boxes * step, self.points * step, objects, labels
            )
            total = target.sum().clamp(min=1)
            wanted = labels.clamp(min=0).gather(1, owner)
            class_target = functional.one_hot(wanted, logits.shape[2]) * target[..., None]
        class_loss = functional.binary_cross_entropy_with_logits(
            logits, class_target, reduction="sum"
        )
        weight = target[positive]
        goal = (objects.gather(1, owner[..., None].expand(-1, -1, 4)) / step)[positive]
        box_loss = ((1 - complete_iou(boxes[positive], goal)) * weight).sum()
        points = self.points.expand(len(raw), -1, -1)[positive]
        goal_sides = torch.cat((points - goal[:, :2], goal[:, 2:] - points), -1)
        dfl_loss = (self._distribution_loss(sides[positive], goal_sides) * weight).sum()
        parts = (
            torch.stack((BOX_GAIN * box_loss, CLASS_GAIN * class_loss, DFL_GAIN * dfl_loss)) / total
        )
        return parts.sum(), parts.detach()

    @staticmethod
    def _distribution_loss(sides: Tensor, goal: Tensor) -> Tensor:
        """Cross entropy against the two bins next to the distance: (K, 4, BINS), (K, 4) -> (K,)."""
        goal = goal.clamp(0, BINS - 1 - 0.01)
        left = goal.long()
        share = goal - left
        logs = sides.log_softmax(-1)
        low = logs.gather(-1, left[..., None]).squeeze(-1)
        high = logs.gather(-1, left[..., None] + 1).squeeze(-1)
        return -(low * (1 - share) + high * share).mean(-1)
