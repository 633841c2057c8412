"""The YOLO networks of the package ultralytics (AGPL-3.0: run here, never copied)."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tools.zoo.network import Network, Objects

CLASSES = 10

_DETECT = {
    "yolov5u": "yolov5n.yaml",
    "yolov8": "yolov8n.yaml",
    "yolov9": "yolov9t.yaml",
    "yolov10": "yolov10n.yaml",
    "yolo11": "yolo11n.yaml",
    "yolo12": "yolo12n.yaml",
    "yolo26": "yolo26n.yaml",
}
_OTHER = {
    "yolov8-seg": ("yolov8n-seg.yaml", ("output0", "output1")),
    "yolov8-pose": ("yolov8n-pose.yaml", ("output0",)),
    "yolov8-obb": ("yolov8n-obb.yaml", ("output0",)),
}


class _Exported(nn.Module):
    """A model whose head returns what the package's own export returns, but nothing is fused."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        for module in model.modules():
            if hasattr(module, "export"):
                module.export, module.format, module.dynamic = True, "onnx", False
                module.max_det = 100

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return all outputs in a flat tuple."""
        return tuple(_flat(self.model(pictures)))


def _flat(outputs: object) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    return [tensor for each in outputs for tensor in _flat(each)]


def _build(config: str) -> nn.Module:
    from ultralytics import YOLO
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import yaml_model_load

    task = YOLO(config, verbose=False)
    description = yaml_model_load(config)
    model = type(task.model)(description, ch=3, nc=CLASSES, verbose=False)
    model.args = get_cfg()
    model.task = task.task
    model.names = {number: str(number) for number in range(CLASSES)}
    return model


def _loss(model: nn.Module, pictures: Tensor, objects: Objects) -> Tensor:
    size = pictures.shape[-1]
    boxes = torch.cat(objects.boxes) / size
    counts = torch.tensor([len(each) for each in objects.labels])
    batch = {
        "img": pictures,
        "cls": torch.cat(objects.labels).float()[:, None],
        "bboxes": torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1),
        "batch_idx": torch.repeat_interleave(torch.arange(len(counts)), counts).float(),
    }
    heads = [module for module in model.modules() if getattr(module, "export", False)]
    for head in heads:
        head.export = False
    loss: Tensor = model.loss(batch)[0].sum()
    for head in heads:
        head.export = True
    return loss


def _ships(model: nn.Module, path: Path, size: int, *, config: str) -> None:
    """What ``model.export(format="onnx")`` writes: fused and simplified."""
    from ultralytics import YOLO

    task = YOLO(config, verbose=False)
    task.model = model
    model.args = vars(model.args)
    with tempfile.TemporaryDirectory() as folder:
        model.pt_path = str(Path(folder) / "model.pt")
        shutil.move(task.export(format="onnx", imgsz=size, device="cpu", verbose=False), path)


NETWORKS = tuple(
    Network(
        name,
        partial(_build, config),
        ("output0",),
        deploy=_Exported,
        loss=_loss,
        ships=partial(_ships, config=config),
    )
    for name, config in _DETECT.items()
) + tuple(
    Network(
        name,
        partial(_build, config),
        outputs,
        deploy=_Exported,
        ships=partial(_ships, config=config),
    )
    for name, (config, outputs) in _OTHER.items()
)
