"""The machine's integer peak."""

import numpy as np
import pytest

from zqc.benchmark import peak


def test_peak_is_that_of_the_fastest_product(monkeypatch):
    """Two operations for a multiplication, by the seconds of the run; the best shape counts."""
    seen = []

    def fastest(left, right, threads):
        seen.append((left.shape, right.shape, left.dtype, right.dtype, threads))
        return 1e-3 if len(seen) == 2 else 1.0

    monkeypatch.setattr(peak, "_fastest", fastest)
    found = peak.integer_peak(3)
    rows, depth, columns = found.shape
    assert seen[1] == ((rows, depth), (depth, columns), np.uint8, np.int8, 3)
    assert found.gops == pytest.approx(2 * rows * depth * columns / 1e-3 / 1e9)


def test_peak_of_this_machine(monkeypatch):
    """Faster than a processor of 1990, slower than a supercomputer."""
    monkeypatch.setattr(peak, "_SECONDS", 0.0)
    assert 0.01 < peak.integer_peak(1).gops < 1e7
