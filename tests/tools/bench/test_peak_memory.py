"""The peak memory of a process."""

import os
import subprocess
import sys

import pytest

from tools.bench.peak_memory import apart
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


GROWTH = """
from tools.bench.peak_memory import growth
before = b"x" * 90_000_000
del before
kept = b"x" * 40_000_000
with growth() as found:
    block = b"x" * 60_000_000
    del block
print(found[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone forgets a peak")
def test_growth_is_of_the_block_alone():
    """60 MB that come and go count, more that went before and 40 MB that stay do not."""
    command = [sys.executable, "-c", GROWTH]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert 50 < float(done.stdout) < 70


def test_work_apart_is_in_another_process():
    """A function runs with its arguments in a process that is not this one."""
    assert apart(os.getpid) != os.getpid()
    assert apart(pow, 2, 5) == 32
