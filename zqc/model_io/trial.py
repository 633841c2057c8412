"""The first run of a model: whether it ends, and whether what is read of a file is what it says.

The file as it was given, and then the model that ``preparation`` has made of it, run on the same
picture of random numbers, and every node as it is written. A mistake of loading shows here, before
anything is compared with a model that is not the user's.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir

from passes.operators import PICKING
from zqc.errors import DAMAGED, MissingPackageError, ModelError, OptionError, RuntimeFailure
from zqc.model_io.ends import split
from zqc.model_io.interface import Interface
from zqc.pictures.model_input import fixed_batch, picture_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zqc.pictures.model_input import ModelInputs
    from zqc.runtime.session import Runner

    Arrays = dict[str, NDArray[np.generic]]

logger = logging.getLogger(__name__)

_SECONDS = 15.0
"""What a run may take. A model without a Loop that takes longer is large, or the machine is slow:
it is taken as it is. One with a Loop is refused."""

_LOOPS = frozenset({"Loop", "Scan", "SequenceMap"})
_UNSURE = PICKING | {
    *("ArgMax", "ArgMin", "Bernoulli", "Multinomial"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
}
"""Operators behind which a rounding error, or nothing at all, makes another number."""

_LEAST_SQNR_DB = 20.0
"""What half-precision models in float32 exceed by far, and what no other operator reaches."""


@dataclass(frozen=True)
class FirstRun:
    """What the file gives for a picture.

    Attributes:
        taken: What its inputs are fed with.
        picture: The picture, float32 N,C,H,W.
        outputs: What came out, by name.
    """

    taken: ModelInputs
    picture: NDArray[np.float32]
    outputs: Arrays


def first_run(
    proto: onnx.ModelProto, known: ir.Model, values: Mapping[str, Sequence[float]]
) -> FirstRun | None:
    """Run a file as it was given.

    Args:
        proto: The file.
        known: The same, read, with the sizes of its inputs fixed.
        values: Given values of inputs beside the picture.

    Returns:
        None where ONNX Runtime is not there or lacks an operator, the value of an input is not
        known, or a run takes too long.

    Raises:
        ModelError: ONNX Runtime refuses it, it does not end, or an output is declared with another
            number of dimensions than it has.
    """
    try:
        taken = Interface.of(proto, known, values).taken
    except OptionError as error:  # raised again where all that is asked for is known
        logger.debug("the model is not run as it was given: %s", error)
        return None
    part, ends = split(known)
    if ends.foreign:
        return None
    picture = _picture(known, whole=taken.picture.holds_pixels)
    names = [value.name or "" for value in part.graph.outputs]
    file = onnx.ModelProto()
    file.CopyFrom(proto)
    declared = {value.name: value for value in file.graph.output}
    written = {name for node in file.graph.node for name in node.output}
    file.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name in written - declared.keys()
    )
    wanted = [name for name in names if name in written | declared.keys()]
    outputs = _run(file.SerializeToString(), wanted, taken.feeds(picture), known.graph)
    if outputs is None:
        return None
    for name, array in outputs.items():
        _check_declared(declared.get(name), array)
    return FirstRun(taken, picture, outputs)


def check_same(ready: ir.Model, first: FirstRun | None) -> None:
    """Run what was made of a file, and compare.

    Args:
        ready: The model; its first input is the picture.
        first: What the file gave; None where it was not run.

    Raises:
        ModelError: ONNX Runtime refuses it, or its outputs are others than those of the file.
    """
    if first is None:
        return
    part, _ = split(ready)
    given = first.taken.feeds(first.picture)
    feeds: Arrays = {}
    for value in part.graph.inputs:
        is_picture = value.name == first.taken.picture.name
        array = first.picture if is_picture else given[value.name or ""]
        feeds[value.name or ""] = array.astype(
            array.dtype if value.dtype is None else value.dtype.numpy()
        )
    names = [name for value in part.graph.outputs if (name := value.name or "") in first.outputs]
    outputs = _run(part, names, feeds, part.graph)
    if outputs is None or any(node.op_type in _UNSURE for node in ready.graph.all_nodes()):
        return
    for name, array in outputs.items():
        _check_equal(name, first.outputs[name], array)


def run_alone(content: bytes) -> None:
    """Run any model once on ones, to see whether it ends, and gives what it declares.

    Args:
        content: Its file. Open sizes are 1, those behind the channels of a picture 64.

    Raises:
        ModelError: It does not end, or has an output with another number of dimensions.
    """
    from zqc.runtime import session

    proto = onnx.ModelProto.FromString(content)
    graph = ir.from_proto(proto).graph
    started = time.monotonic()
    try:
        runner = session.load(content)
        feeds = {
            value.name or "": np.ones(
                _some_sizes(value), (value.dtype or ir.DataType.FLOAT).numpy()
            )
            for value in graph.inputs
            if value.name not in graph.initializers
        }
        outputs = runner(feeds, seconds=_SECONDS)
    except (RuntimeFailure, TypeError) as error:
        _took_too_long(graph, started, error)
        logger.debug("it does not run on ones: %s", error)
        return
    for declared in proto.graph.output:
        _check_declared(declared, outputs[declared.name])


def _some_sizes(value: ir.Value) -> list[int]:
    shape = list(value.shape or ())
    others = [64 if len(shape) == 4 and index > 1 else 1 for index in range(len(shape))]
    pairs = zip(shape, others, strict=True)
    return [size if isinstance(size, int) and size > 0 else other for size, other in pairs]


def _took_too_long(graph: ir.Graph, started: float, error: Exception) -> bool:
    """Refuse a model that took too long, if it is not sure that it ends at all.

    Returns:
        Whether it took too long.
    """
    if time.monotonic() - started <= _SECONDS:
        return False
    if any(node.op_type in _LOOPS for node in graph.all_nodes()):
        raise ModelError(
            f"its first run takes longer than {_SECONDS:.0f} s; a Loop in it may have no end"
        ) from error
    logger.debug("the model is too slow here to be tried")
    return True


def _picture(model: ir.Model, *, whole: bool) -> NDArray[np.float32]:
    """Random numbers in 0…1, or whole ones in 0…255."""
    shape = (fixed_batch(model) or 1, *picture_shape(model))
    generator = np.random.default_rng(0)
    if whole:
        return generator.integers(0, 256, shape).astype(np.float32)
    return generator.uniform(size=shape).astype(np.float32)


def _run(
    model: ir.Model | bytes,
    names: list[str],
    feeds: Mapping[str, NDArray[np.generic]],
    graph: ir.Graph,
) -> Arrays | None:
    """The outputs of a model; None where there is no ONNX Runtime, or it is too slow.

    Raises:
        ModelError: It is refused, fails or does not end.
    """
    try:
        from zqc.runtime import session
    except MissingPackageError as error:
        logger.debug("the model is not run: %s", error)
        return None
    started = time.monotonic()
    try:
        runner: Runner = session.load(model, outputs=names, optimize=False)
        return runner(feeds, seconds=_SECONDS) if names else {}
    except RuntimeFailure as error:
        if _took_too_long(graph, started, error):
            return None
        raise ModelError(f"{error}; export the model again") from error


def _check_declared(declared: onnx.ValueInfoProto | None, array: NDArray[np.generic]) -> None:
    """Refuse an output that is declared with another number of dimensions.

    Sizes that were left behind by an export at another size are put right, see ``declarations``.
    """
    if declared is None or not declared.type.tensor_type.HasField("shape"):
        return
    sizes = [d.dim_value or d.dim_param or "?" for d in declared.type.tensor_type.shape.dim]
    if isinstance(array, np.ndarray) and len(sizes) != array.ndim:
        raise ModelError(
            f"the output {declared.name!r} is declared as {'×'.join(map(str, sizes))}, but is "
            f"{'×'.join(map(str, array.shape)) or 'one value'}; {DAMAGED}"
        )


def _check_equal(name: str, expected: NDArray[np.generic], got: NDArray[np.generic]) -> None:
    """Refuse an output that is another one than in the file."""
    if not isinstance(expected, np.ndarray) or expected.dtype.kind != "f":
        return
    if expected.shape != got.shape:
        found = f"has the shape {list(got.shape)}, in the file {list(expected.shape)}"
    else:
        one, other = expected.astype(np.float64), got.astype(np.float64)
        both = np.isfinite(one) & np.isfinite(other)
        signal, noise = np.square(one[both]).sum(), np.square(one[both] - other[both]).sum()
        apart = (np.isfinite(one) != np.isfinite(other)).any()
        if not apart and noise <= signal * 10 ** (-_LEAST_SQNR_DB / 10) + 1e-12:
            return
        found = "has other values than in the file"
    raise ModelError(
        f"zqc reads the model otherwise than ONNX Runtime does: the output {name!r} {found}, on a "
        "picture of random numbers; export it again with opset 17, and report it"
    )
