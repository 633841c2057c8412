"""The memory of this process."""

import subprocess
import sys

from zqc.runtime import process_memory

CODE = """
from zqc.runtime.process_memory import peak
before = peak()
block = b"x" * 50_000_000
del block
print(peak() - before)
"""


def test_the_peak_stays_when_the_memory_is_given_back():
    """50 MB more than before, to a tenth: what is freed counts."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert 45e6 < int(done.stdout) < 65e6


def test_without_linux_the_system_is_asked(monkeypatch, tmp_path):
    """In bytes; nothing is said where there is no such module."""
    monkeypatch.setattr(process_memory, "STATUS", tmp_path / "none")
    assert process_memory.peak() > 10e6
    monkeypatch.setitem(sys.modules, "resource", None)
    assert process_memory.peak() is None
