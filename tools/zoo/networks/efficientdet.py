"""The networks of the package effdet: scores and boxes of the anchors, grid by grid."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from tools.zoo.network import IMAGENET, Network

CLASSES = 10
LEVELS = 5


class _Exported(nn.Module):
    """The two lists that effdet returns, as one tuple."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the scores of all levels, before their sigmoid, then the boxes."""
        scores, boxes = self.model(pictures)
        return (*scores, *boxes)


def _build(name: str) -> nn.Module:
    from effdet import create_model

    return create_model(
        name,
        bench_task="",
        num_classes=CLASSES,
        pretrained=False,
        pretrained_backbone=False,
        image_size=(256, 256),
    )


_OUTPUTS = tuple(f"{part}{level}" for part in ("scores", "boxes") for level in range(3, 3 + LEVELS))

NETWORKS = tuple(
    Network(
        name,
        partial(_build, config),
        _OUTPUTS,
        size=256,  # a multiple of 128
        statistics=statistics,
        value_range=(-1.0, 1.0),
        deploy=_Exported,
    )
    for name, config, statistics in (
        ("efficientdet-d0", "efficientdet_d0", IMAGENET),
        ("efficientdet-lite0", "tf_efficientdet_lite0", None),
    )
)
