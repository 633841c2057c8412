"""Where things are in the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
DETECTOR = EXAMPLES / "detector.onnx"
SCENES = EXAMPLES / "scenes"
"""Labelled pictures: ``training`` and ``heldout``, each with its ``.json`` beside it."""
