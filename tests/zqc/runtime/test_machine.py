"""What results depend on to the last bit."""

import numpy as np

from zqc.runtime import cpu, machine, session


def test_it_names_what_computes(monkeypatch):
    """Versions, system and processor; another set of instructions is another machine."""
    found = machine.fingerprint()
    assert found["onnxruntime"] == session.version()
    assert found["numpy"] == np.__version__
    assert found["system"]
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"of another processor"}))
    changed = {name for name, text in machine.fingerprint().items() if text != found[name]}
    assert changed == {"processor"}
