"""What all tests share."""

import os
from pathlib import Path
from tempfile import mkdtemp

# Before numpy comes. Each core has a worker: threads of BLAS would spin, and hold up the others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import pytest

from tests import nets
from zqc.model_io import child, preparation
from zqc.runtime import cpu

ROOT = Path(__file__).parents[1]


@pytest.fixture
def rng():
    """A seeded generator of random numbers."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def load_in_this_process(request, monkeypatch):
    """Make models ready without a child process and a first run, which cost more than most tests.

    ``test_child``, which is marked, and ``test_trial`` prove that they make no difference.
    """
    if "child_process" in request.keywords:
        return

    def prepared(proto, **options):
        return preparation.prepared(proto, **options, simplify=True, run=False)

    monkeypatch.setattr(child, "prepared", prepared)
    monkeypatch.setattr(child, "try_out", lambda proto: None)


@pytest.fixture(autouse=True)
def exact_kernels(request):
    """Skip what is marked so where the kernels of ONNX Runtime saturate."""
    if "exact_kernels" in request.keywords and cpu.has_vnni(cpu.features()) is False:
        pytest.skip("sums of 8-bit products saturate on this processor")


@pytest.fixture(scope="session")
def caches(tmp_path_factory):
    """Where the caches of all tests are: pytest looks through the siblings of what it makes."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, caches):
    """Keep pictures in a folder of each test's own, and nothing in the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", mkdtemp(dir=caches))


@pytest.fixture
def detector_file(tmp_path):
    """The file of a small detector, alone in its folder."""
    path = tmp_path / "detector.onnx"
    onnx.save(nets.detector(), path)
    return path


@pytest.fixture(scope="session")
def real_models():
    """A folder of real detectors, for those who have it; tests that ask for it skip elsewhere."""
    folder = ROOT / ".." / "shared" / "models"
    if not folder.is_dir():
        pytest.skip("no real models here")
    return folder.resolve()
