"""What onnxsim gets wrong costs the simplification and nothing else."""

import logging

from tests import nets
from zqc.model_io import upgrade


def test_simplify_that_fails(monkeypatch, caplog):
    """A failure of the simplifier is logged, and the model is used as it is."""

    def fail(*arguments, **options):
        raise RuntimeError("no luck\nat all")

    monkeypatch.setattr("onnxsim.simplify", fail)
    model = nets.detector()
    with caplog.at_level(logging.WARNING):
        assert upgrade.simplify(model) is model
    assert "onnxsim failed, the model is used unsimplified: no luck" in caplog.text


def test_simplify_that_loses_batch_norm(monkeypatch, caplog):
    """A simplified model with less BatchNorm is not used."""
    stripped = nets.detector()
    del stripped.graph.node[1:]
    monkeypatch.setattr("onnxsim.simplify", lambda *_, **__: (stripped, True))
    model = nets.detector()
    with caplog.at_level(logging.WARNING):
        assert upgrade.simplify(model) is model
    assert "onnxsim left 0 of 1 BatchNormalization" in caplog.text
