"""zqc and its peers: what has to be installed for each, and the ways in which it is asked.

Versions are pinned: another version is another peer. Most of them need PyTorch; its CPU build comes
with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
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
    """A quantizer.

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

    def narrowed(self, bits: Collection[str], text: str) -> Peer:
        """Itself with the variants of these bits, or of any, whose words begin with this text."""
        chosen = tuple(
            variant
            for variant in self.variants
            if (not bits or variant.bits in bits) and variant.text.lower().startswith(text.lower())
        )
        return replace(self, variants=chosen)


_FLOAT_TAIL = "post-processing in float"
_EDGES = "first and last layers 8 bit"
_INSIDE = "inside of SiLU 8 bit"
_TAIL: Mapping[str, object] = MappingProxyType({"float_post_processing": True})
_A8W8: Mapping[str, object] = {"scales": "any", **_TAIL}
_ORT: Mapping[str, object] = {"activations": "QUInt8", "per_channel": True, **_TAIL}
_AIMET_W4: Mapping[str, object] = {"weights": "int4", "edges": True, **_TAIL}
_AIMET_W4A4: Mapping[str, object] = {**_AIMET_W4, "activations": "int4"}
_AIMET_STEPS = 2_000  # the default, 10,000, takes half an hour on one core

ZQC = Peer(
    "zqc",
    "zqc",
    (),  # it is here
    (
        Variant("W8A8", "quick effort", {"effort": "quick"}),
        Variant("W4A8", "quick effort", {"effort": "quick", "bits": 4}),
        Variant("W4A8", "standard effort", {"bits": 4}),
        Variant("W4A4", "quick effort", {"effort": "quick", "bits": 4, "act_bits": 4}),
        Variant("W4A4", "standard effort", {"bits": 4, "act_bits": 4}),
    ),
)
"""Its configuration is a recipe."""

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
        "AMD Quark",
        ("amd-quark==0.13", "onnx==1.22.0", "onnxruntime==1.31.1", "torch==2.13.0"),
        (
            Variant("W8A8", "XINT8", {}),
            Variant("W8A8", f"XINT8, {_FLOAT_TAIL}", _TAIL),
            Variant("W8A8", f"XINT8, {_FLOAT_TAIL}, CLE", {**_TAIL, "equalize": True}),
            Variant("W8A8", f"A8W8, per channel, {_FLOAT_TAIL}", _A8W8),
            Variant(
                "W8A8", f"AdaRound, A8W8, per channel, {_FLOAT_TAIL}", {**_A8W8, "adaround": 1000}
            ),
            Variant(
                "W8A8", f"AdaQuant, A8W8, per channel, {_FLOAT_TAIL}", {**_A8W8, "adaquant": 1000}
            ),
            Variant(
                "W4A8", f"QInt4 weights, per channel, {_FLOAT_TAIL}", {**_A8W8, "weights": "QInt4"}
            ),
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
            Variant("W4A8", f"{_FLOAT_TAIL}, {_EDGES}", _AIMET_W4),
            Variant(
                "W4A8",
                f"sequential MSE, {_FLOAT_TAIL}, {_EDGES}",
                {**_AIMET_W4, "sequential_mse": True},
            ),
            Variant(
                "W4A8",
                f"AdaRound of {_AIMET_STEPS} steps, {_FLOAT_TAIL}, {_EDGES}",
                {**_AIMET_W4, "adaround": _AIMET_STEPS},
            ),
            Variant("W4A4", f"{_FLOAT_TAIL}, {_EDGES}, {_INSIDE}", _AIMET_W4A4),
            Variant(
                "W4A4",
                f"ranges by SQNR, {_FLOAT_TAIL}, {_EDGES}, {_INSIDE}",
                {**_AIMET_W4A4, "scheme": "tf_enhanced"},
            ),
            Variant(
                "W4A4",
                f"sequential MSE, {_FLOAT_TAIL}, {_EDGES}, {_INSIDE}",
                {**_AIMET_W4A4, "sequential_mse": True},
            ),
            Variant(
                "W4A4",
                f"AdaRound of {_AIMET_STEPS} steps, {_FLOAT_TAIL}, {_EDGES}, {_INSIDE}",
                {**_AIMET_W4A4, "adaround": _AIMET_STEPS},
            ),
        ),
    ),
)
