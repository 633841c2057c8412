"""The networks in a checkpoint of PyTorch: state dicts and whole modules, averaged or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zqc.errors import StatisticsError
from zqc.statistics.files.pickles import Record
from zqc.statistics.files.places import places_of
from zqc.statistics.files.torch_file import StoredTensor, TorchFile, read_torch_file
from zqc.statistics.files.weights import Floats, Weights

_AVERAGED = ("ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "params_ema")
_PLAIN = ("model", "state_dict", "model_state_dict", "net", "network", "params", "weights")
_NO_NETWORK = frozenset({"optimizer", "optimizer_state_dict", "optimizer_states", "optim"})
"""Moments of gradients have the shapes of weights."""

_MOST_BYTES = 4
"""Tensors may overlap, as tied weights do: all together, times the size of the file."""


def read_checkpoint(path: Path) -> tuple[Weights, ...]:
    """Read the networks of a checkpoint, the averaged one (EMA), which is deployed, first.

    A network is what stands under a name such as ``ema``, ``model`` or ``state_dict``; then the
    file as a whole.

    Raises:
        StatisticsError: The file is damaged, or holds what no checkpoint does.
    """
    file = read_torch_file(path)
    read = _Reader(file, _MOST_BYTES * path.stat().st_size)
    found: list[Weights] = []
    seen: list[set[int]] = []
    for part in _parts(file.root):
        try:
            weights = read.weights(part)
        except RecursionError as error:
            raise StatisticsError(f"the pickle in {path} is damaged: {error}") from error
        held = {id(array) for array in weights.arrays.values()}
        if held and held not in seen:
            found.append(weights)
            seen.append(held)
    return tuple(found)


def _parts(root: Any) -> Iterator[Any]:
    if not isinstance(root, dict):
        yield root
        return
    for key in (*_AVERAGED, *_PLAIN):
        if isinstance(root.get(key), (dict, Record)):
            yield root[key]
    yield {key: value for key, value in root.items() if key not in _NO_NETWORK}


class _Reader:
    """Reads each storage and each tensor once."""

    def __init__(self, file: TorchFile, most: int) -> None:
        self.file, self.left = file, most
        self.arrays: dict[StoredTensor, Floats] = {}

    def weights(self, part: Any) -> Weights:
        """All tensors below a value, and ε where a module keeps it."""
        arrays: dict[str, Floats] = {}
        eps: dict[str, float] = {}
        for place, value in places_of(part):
            if isinstance(value, StoredTensor):
                arrays[".".join(place)] = self._array(value)
            elif place and place[-1] == "eps" and isinstance(value, float):
                eps[".".join(place[:-1])] = value
        return Weights(arrays, eps)

    def _array(self, tensor: StoredTensor) -> Floats:
        if tensor not in self.arrays:
            array = self.file.array(tensor)
            self.left -= tensor.size
            if self.left < 0:
                raise StatisticsError(
                    f"{self.file.source} has tensors of many times its own size, which no "
                    "checkpoint has; save the state dict alone"
                )
            self.arrays[tensor] = array
        return self.arrays[tensor]
