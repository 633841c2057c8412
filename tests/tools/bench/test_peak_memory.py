"""The peak memory of a process."""

import subprocess
import sys

from tools.paths import ROOT

SCRIPT = """
from tools.bench.peak_memory import peak_megabytes
before = peak_megabytes()
block = b"x" * 60_000_000
during = peak_megabytes()
del block
print(before, during, peak_megabytes())
"""


def test_a_peak_is_kept():
    """A block of 60 MB raises it by about so much; freed, it lowers it by less than 1 MB."""
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    before, during, after = map(float, done.stdout.split())
    assert 50 < during - before < 80
    assert after > during - 1
