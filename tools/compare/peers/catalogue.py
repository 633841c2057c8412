"""The peers: what has to be installed for each, and the ways in which it is asked to quantize.

Versions are pinned: another version is another peer. Most of them need PyTorch; its CPU build comes
with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Variant:
    """One way to ask a peer.

    Attributes:
        bits: Of weights and activations, such as ``W4A8``.
        text: What is asked for, in words.
        config: The options that its runner gets.
    """

    bits: str
    text: str
    config: Mapping[str, object]


@dataclass(frozen=True)
class Peer:
    """Another quantizer.

    Attributes:
        key: Its name on the command line, of its environment, and of ``runners/run_KEY.py``.
        title: Its name in the table.
        requirements: What pip installs.
        variants: The ways to ask it.
    """

    key: str
    title: str
    requirements: tuple[str, ...]
    variants: tuple[Variant, ...]


_FLOAT_TAIL = "post-processing in float"
_EDGES = "first and last layers 8 bit"
_TAIL: Mapping[str, object] = MappingProxyType({"float_post_processing": True})
_ORT: Mapping[str, object] = {"activations": "QUInt8", "per_channel": True, **_TAIL}
_AIMET_4: Mapping[str, object] = {"weights": "int4", "edges": True, **_TAIL}

PEERS = (
    Peer(
        "onnxruntime",
        "ONNX Runtime quantize_static",
        ("onnxruntime==1.31.1", "onnx==1.23.2", "sympy==1.14.0"),
        (
            Variant("W8A8", "default", {}),
            Variant("W8A8", f"uint8, per channel, {_FLOAT_TAIL}", _ORT),
            Variant("W4A8", "default, QInt4 weights", {"weights": "QInt4"}),
            Variant(
                "W4A8",
                f"QInt4 weights, uint8, per channel, {_FLOAT_TAIL}, {_EDGES}",
                {**_ORT, "weights": "QInt4", "edges": True},
            ),
        ),
    ),
    Peer(
        "quark",
        "AMD Quark XINT8",
        ("amd-quark==0.13", "onnx==1.22.0", "onnxruntime==1.31.1", "torch==2.13.0"),
        (
            Variant("W8A8", "default", {}),
            Variant("W8A8", _FLOAT_TAIL, _TAIL),
            Variant("W8A8", f"{_FLOAT_TAIL}, CLE", {**_TAIL, "equalize": True}),
        ),
    ),
    Peer(
        "nncf",
        "NNCF",
        (
            "nncf==3.4.0",
            "openvino==2026.4.1",
            "onnx==1.23.2",
            "onnxruntime==1.31.1",
            "torch==2.13.0",
        ),
        (
            Variant("W8A8", "default", {}),
            Variant("W8A8", "preset mixed", {"preset": "mixed"}),
        ),
    ),
    Peer(
        "aimet",
        "AIMET-ONNX",
        ("aimet-onnx==2.42.0", "onnx==1.23.2", "onnxruntime==1.31.1", "torch==2.13.0"),
        (
            Variant("W8A8", "default", {}),
            Variant("W8A8", _FLOAT_TAIL, _TAIL),
            Variant("W4A8", "default, int4 weights", {"weights": "int4"}),
            Variant("W4A8", f"{_FLOAT_TAIL}, {_EDGES}", _AIMET_4),
            Variant(
                "W4A8",
                f"sequential MSE, {_FLOAT_TAIL}, {_EDGES}",
                {**_AIMET_4, "sequential_mse": True},
            ),
        ),
    ),
)
