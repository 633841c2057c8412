"""What the last bits of a computation depend on besides its inputs."""

from __future__ import annotations

import hashlib
import platform

import numpy as np

from zqc.runtime import cpu, session


def fingerprint() -> dict[str, str]:
    """Versions of the libraries that compute, the system and the processor, whose kernels differ.

    What was computed with another one may be taken for the same, but is not to the last bit.
    """
    features = hashlib.sha256(" ".join(sorted(cpu.features())).encode()).hexdigest()
    return {
        "onnxruntime": session.version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{cpu.name()} {features}",
    }
