"""The detectors of the package transformers, in small configurations."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from tools.zoo.network import IMAGENET, Network, Objects

CLASSES = 10
QUERIES = 100

_OUTPUTS = ("logits", "pred_boxes")


class _Exported(nn.Module):
    """Scores before their sigmoid or softmax, and boxes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return logits N x Q x C and boxes N x Q x 4 (centre, width, height in 0..1)."""
        found = self.model(pixel_values=pictures)
        return tuple(found[name] for name in _OUTPUTS)


def _loss(model: nn.Module, pictures: Tensor, objects: Objects) -> Tensor:
    labels = []
    for boxes, names in zip(objects.boxes, objects.labels, strict=True):
        centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        found = torch.cat([centres, sizes], dim=1) / pictures.shape[-1]
        labels.append({"class_labels": names, "boxes": found})
    return model(pixel_values=pictures, labels=labels).loss


def _detr() -> nn.Module:
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    config = DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=ResNetConfig(
            embedding_size=32,
            hidden_sizes=[32, 64, 128, 256],
            depths=[2, 2, 2, 2],
            layer_type="basic",
            out_features=["stage4"],
        ),
        num_queries=QUERIES,
        num_labels=CLASSES,
        d_model=128,
        encoder_layers=2,
        decoder_layers=3,
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
    )
    return DetrForObjectDetection(config)


def _rt_detr() -> nn.Module:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    config = RTDetrConfig(
        backbone_config=RTDetrResNetConfig(
            embedding_size=32,
            hidden_sizes=[32, 64, 128, 256],
            depths=[2, 2, 2, 2],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        ),
        encoder_in_channels=[64, 128, 256],
        encoder_hidden_dim=128,
        encoder_ffn_dim=256,
        encoder_attention_heads=4,
        d_model=128,
        decoder_in_channels=[128, 128, 128],
        decoder_ffn_dim=256,
        decoder_layers=3,
        decoder_attention_heads=4,
        num_queries=QUERIES,
        num_denoising=20,
        num_labels=CLASSES,
        hidden_expansion=0.5,
    )
    return RTDetrForObjectDetection(config)


def _d_fine() -> nn.Module:
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

    config = DFineConfig(
        backbone_config=HGNetV2Config(
            hidden_sizes=[64, 128, 256, 512],
            stem_channels=[3, 16, 16],
            stage_in_channels=[16, 64, 128, 256],
            stage_mid_channels=[16, 32, 64, 128],
            stage_out_channels=[64, 128, 256, 512],
            stage_num_blocks=[1, 1, 2, 1],
            stage_numb_of_layers=[3, 3, 3, 3],
            stage_downsample=[False, True, True, True],
            stage_light_block=[False, False, True, True],
            stage_kernel_size=[3, 3, 5, 5],
            out_features=["stage2", "stage3", "stage4"],
        ),
        encoder_in_channels=[128, 256, 512],
        encoder_hidden_dim=128,
        encoder_ffn_dim=256,
        encoder_attention_heads=4,
        d_model=128,
        decoder_in_channels=[128, 128, 128],
        decoder_ffn_dim=256,
        decoder_layers=3,
        decoder_attention_heads=4,
        decoder_n_points=[3, 6, 3],
        num_queries=QUERIES,
        num_denoising=20,
        num_labels=CLASSES,
        hidden_expansion=0.5,
        depth_mult=0.34,
    )
    return DFineForObjectDetection(config)


def _yolos() -> nn.Module:
    from transformers import YolosConfig, YolosForObjectDetection

    config = YolosConfig(
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        image_size=[320, 320],
        num_detection_tokens=QUERIES,
        use_mid_position_embeddings=False,
        num_labels=CLASSES,
    )
    return YolosForObjectDetection(config)


_network = partial(Network, outputs=_OUTPUTS, deploy=_Exported, loss=_loss)

NETWORKS = (
    _network("detr", _detr, statistics=IMAGENET),
    _network("rt-detr", _rt_detr),
    _network("d-fine", _d_fine),
    _network("yolos", _yolos, statistics=IMAGENET),
)
