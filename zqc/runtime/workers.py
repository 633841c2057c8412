"""The workers of a cluster in the place of the cores of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from zqc.errors import OptionError
from zqc.runtime import extras

_SECONDS = 10
"""How long a scheduler may take to answer."""


@contextmanager
def workers(address: str | None, scattered: Sequence[object] = ()) -> Iterator[None]:
    """Let the workers of a Dask scheduler do what joblib is asked for in this context.

    Args:
        address: Of the scheduler; None for this machine.
        scattered: What all pieces of the work need; it is sent to the workers once.

    Raises:
        OptionError: No scheduler answers.
        MissingPackageError: The package for it is not installed.
    """
    if address is None:
        yield
        return
    extras.require(extras.DASK, "--dask")
    from distributed import Client
    from joblib import parallel_config

    try:
        client = Client(  # type: ignore[no-untyped-call]
            address, timeout=_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise OptionError(
            f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`, "
            "workers with `dask worker ADDRESS`, and give the address that it prints"
        ) from error
    with client, parallel_config(backend="dask", client=client, scatter=list(scattered)):
        yield
