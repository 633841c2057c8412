"""The packages that zqc is installed without unless asked, and what to type to get each."""

from __future__ import annotations

from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING

from zqc.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Mapping

COCO = "faster_coco_eval"
DASK = "distributed"
PLOTS = "matplotlib"
RUNTIME = "onnxruntime"

_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        COCO: "pip install 'zqc[coco]'",
        DASK: "pip install 'zqc[dask]'",
        PLOTS: "pip install 'zqc[plots]'",
        RUNTIME: "pip install 'zqc[cpu]', or 'zqc[gpu]' for NVIDIA GPUs",
    }
)


def installed(package: str) -> bool:
    """Whether a package can be found; it is not imported."""
    return find_spec(package) is not None


def require(package: str, purpose: str) -> None:
    """Refuse to begin what cannot end without a package.

    Raises:
        MissingPackageError: It is not installed; the message says what to type.
    """
    if not installed(package):
        raise missing(package, purpose)


def missing(package: str, purpose: str, error: ImportError | None = None) -> MissingPackageError:
    """Return the error that says what to type.

    Args:
        package: One of the constants above.
        purpose: What it is needed for.
        error: What came of importing it; unless it just is not there, the message says it.
    """
    broken = error is not None and getattr(error, "name", None) != package
    but = f", which cannot be imported ({error})" if broken else ""
    return MissingPackageError(f"{purpose} needs {package}{but}: {_REMEDIES[package]}")
