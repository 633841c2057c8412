"""What ONNX Runtime's profile says about each kernel: how long it took, of what type, on what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


_END = "_kernel_time"
_CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})  # what is in their bodies is counted by itself
_ADDED_NAME = re.compile(r"(_nchwc|_token_\d+)*$")

TensorType: TypeAlias = tuple[str, tuple[int, ...]]
"""Element type as ONNX calls it (``float``, ``uint8``) and shape."""


@dataclass(frozen=True)
class KernelTime:
    """A kernel that runs, once or several times, in every run of a model.

    Attributes:
        name: Name of its node; ``OPERATOR_INDEX`` where it has none.
        op_type: Its operator, as it is after fusion.
        provider: The execution provider that it belongs to.
        seconds: Median over the runs.
        best: Fastest run: what a machine does besides can only slow others down.
        inputs: Types and shapes of its inputs.
        outputs: The same of its outputs.
    """

    name: str
    op_type: str
    provider: str
    seconds: float
    best: float
    inputs: tuple[TensorType, ...] = ()
    outputs: tuple[TensorType, ...] = ()


def plain_name(name: str) -> str:
    """Leave out what changes of memory layout append to the name of a node or of its output."""
    return _ADDED_NAME.sub("", name)


def kernel_times(
    events: Sequence[Mapping[str, Any]], runs: int, executed: onnx.GraphProto | None = None
) -> tuple[KernelTime, ...]:
    """Read a profile.

    Args:
        events: What ``InferenceSession.end_profiling`` has written.
        runs: Runs that were profiled; the first one is a warm-up and does not count.
        executed: The graph that ran. ONNX Runtime packs constant weights when it loads a model and
            forgets their shapes, which this graph still knows.

    Returns:
        Kernels in the order in which they ran first.
    """
    times: dict[tuple[str, str], list[float]] = {}
    arguments: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        name, end, _ = event["name"].rpartition(_END)
        if event.get("cat") != "Node" or not end:
            continue
        given = event["args"]
        if given["op_name"] in _CONTROL_FLOW:
            continue
        key = name, given.get("node_index", "")
        arguments.setdefault(key, given)
        times.setdefault(key, []).append(event["dur"] * 1e-6)
    nodes = _nodes([(name, given["op_name"]) for (name, _), given in arguments.items()], executed)
    constants = {} if executed is None else {t.name: _constant(t) for t in executed.initializer}
    found = []
    for (key, given), node in zip(arguments.items(), nodes, strict=True):
        each = _by_run(times[key], runs)[1:]
        found.append(
            KernelTime(
                name=key[0],
                op_type=given["op_name"],
                provider=given.get("provider", ""),
                seconds=float(np.median(each)),
                best=float(np.min(each)),
                inputs=_completed(_types(given.get("input_type_shape", ())), node, constants),
                outputs=_types(given.get("output_type_shape", ())),
            )
        )
    return tuple(found)


def _by_run(times: Sequence[float], runs: int) -> NDArray[np.float64]:
    """What each run takes; in the body of a Loop one run has several times.

    The inputs are the same in every run, and so is how often it loops.
    """
    by_run: NDArray[np.float64] = np.reshape(np.asarray(times), (runs, -1)).sum(axis=1)
    return by_run


def _types(listed: Sequence[Mapping[str, Sequence[int]]]) -> tuple[TensorType, ...]:
    return tuple((element, tuple(shape)) for entry in listed for element, shape in entry.items())


def _nodes(
    kernels: Sequence[tuple[str, str]], graph: onnx.GraphProto | None
) -> Sequence[onnx.NodeProto | None]:
    """The node of each kernel, of which name and operator are given.

    A kernel is found by its place, since nodes need no names; or, where bodies of control flow are
    among the kernels, by its name.
    """
    if graph is None:
        return [None] * len(kernels)
    nodes = list(graph.node)
    if [node.op_type for node in nodes] == [op_type for _, op_type in kernels]:
        return nodes
    named = {node.name: node for node in nodes if node.name}
    return [named.get(name) for name, _ in kernels]


def _completed(
    types: tuple[TensorType, ...],
    node: onnx.NodeProto | None,
    constants: Mapping[str, TensorType],
) -> tuple[TensorType, ...]:
    """Put the constants that ONNX Runtime has packed, and so leaves out, where they belong."""
    names = [name for name in node.input if name] if node is not None else []
    left = list(types)
    if len(names) <= len(left):
        return types
    inputs = []
    for name in names:
        known = constants.get(name)
        if left and known in (None, left[0]):
            inputs.append(left.pop(0))
        elif known is not None:
            inputs.append(known)
    return tuple(inputs)


def _constant(tensor: onnx.TensorProto) -> TensorType:
    return onnx.TensorProto.DataType.Name(tensor.data_type).lower(), tuple(tensor.dims)
