"""The gradient of Resize: interpolation is linear and separable, so it is a matrix per axis."""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from zqc.autodiff.context import Context, Vjp


def resize(
    at: Context,
    x: ir.Value,
    roi: ir.Value | None = None,
    scales: ir.Value | None = None,
    sizes: ir.Value | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Sequence[Vjp]:
    """Mᵀ·dy along each resized axis, M being the interpolation matrix.

    Enlarging by a whole factor with mode nearest is undone by AveragePool times the factor. A
    dynamic axis 0 is a batch, which is never resized.
    """

    def vjp() -> ir.Value:
        rank = len(at.dims(x))
        along = [axis % rank for axis in axes] if axes is not None else list(range(rank))
        given = at.fixed(scales, "scales").tolist() if sizes is None else None
        if sizes is not None and keep_aspect_ratio_policy != "stretch":
            choose = min if keep_aspect_ratio_policy == "not_larger" else max
            asked = zip(at.fixed(sizes, "sizes").tolist(), at.sizes(x, along), strict=True)
            given = [choose(new / old for new, old in asked)] * len(along)
        matrices = {}
        for i, axis in enumerate(along):
            is_batch = axis == 0 and not isinstance(at.dims(x)[axis], int)
            if is_batch or at.dims(x)[axis] == at.dims(at.y)[axis]:
                continue
            (old,), (new,) = at.sizes(x, [axis]), at.sizes(at.y, [axis])
            matrices[axis] = _matrix(
                at,
                old,
                new,
                scale=given[i] if given is not None else new / old,
                mode=mode,
                transformation=coordinate_transformation_mode,
                nearest_mode=nearest_mode,
                cubic_a=cubic_coeff_a,
                excludes=bool(exclude_outside),
                antialias=bool(antialias),
            )
        return _apply(at, matrices, rank)

    return [vjp, None, None, None]


def _apply(at: Context, matrices: dict[int, NDArray[np.float32]], rank: int) -> ir.Value:
    factors = {axis: _repeats(matrix) for axis, matrix in matrices.items()}
    if rank == 4 and set(factors) <= {2, 3} and all(factors.values()):
        kernel = [factors.get(2) or 1, factors.get(3) or 1]
        mean = at.op("AveragePool", at.dy, kernel_shape=kernel, strides=kernel)
        return at.op("Mul", mean, float(np.prod(kernel)))
    gradient = at.dy
    for axis, matrix in sorted(matrices.items(), reverse=True):
        if axis == rank - 1:
            gradient = at.op("MatMul", gradient, at.array(matrix, f"axis{axis}"))
        elif axis == rank - 2:
            transposed = np.ascontiguousarray(matrix.T)
            gradient = at.op("MatMul", at.array(transposed, f"axis{axis}"), gradient)
        else:
            last = [*(i for i in range(rank) if i != axis), axis]
            moved = at.op("Transpose", gradient, perm=last)
            product = at.op("MatMul", moved, at.array(matrix, f"axis{axis}"))
            gradient = at.op("Transpose", product, perm=np.argsort(last).tolist())
    return gradient


def _repeats(matrix: NDArray[np.float32]) -> int | None:
    """Return k when the matrix repeats every element k times, else None."""
    new, old = matrix.shape
    if new % old:
        return None
    repeated = np.repeat(np.eye(old, dtype=matrix.dtype), new // old, axis=0)
    return new // old if np.array_equal(matrix, repeated) else None


def _matrix(
    at: Context,
    old: int,
    new: int,
    *,
    scale: float,
    mode: str,
    transformation: str,
    nearest_mode: str,
    cubic_a: float,
    excludes: bool,
    antialias: bool,
) -> NDArray[np.float32]:
    """Return the new×old matrix that resizes one axis, after the formulas of the ONNX schema."""
    places = np.arange(new, dtype=np.float32)
    factor = np.float32(scale)
    half = np.float32(0.5)
    match transformation:
        case "asymmetric":
            origin = places / factor
        case "half_pixel":
            origin = (places + half) / factor - half
        case "pytorch_half_pixel":
            origin = (places + half) / factor - half if new > 1 else np.zeros_like(places)
        case "half_pixel_symmetric":
            adjusted = np.float32(new / (old * scale))
            offset = np.float32(old / 2) * (1 - adjusted)
            origin = offset + (places + half) / factor - half
        case "align_corners":
            origin = places * np.float32((old - 1) / (new - 1)) if new > 1 else 0 * places
        case _:
            raise at.refusal(f"coordinate_transformation_mode={transformation!r}")
    rows = np.arange(new)
    matrix = np.zeros((new, old), np.float32)
    if mode == "nearest":
        matrix[rows, _nearest(at, origin, nearest_mode).clip(0, old - 1)] = 1
    elif mode == "cubic" or (mode == "linear" and antialias):
        stretch = min(scale, 1.0) if antialias else 1.0
        _weigh(matrix, origin, mode, cubic_a, stretch, excludes=excludes)
    elif mode == "linear":
        origin = origin.clip(0, old - 1)
        below = np.floor(origin).astype(np.int64)
        weight = origin - below
        np.add.at(matrix, (rows, below), 1 - weight)
        np.add.at(matrix, (rows, np.minimum(below + 1, old - 1)), weight)
    else:
        raise at.refusal(f"mode={mode!r}")
    return matrix


def _weigh(
    matrix: NDArray[np.float32],
    origin: NDArray[np.float32],
    mode: str,
    cubic_a: float,
    stretch: float,
    *,
    excludes: bool,
) -> None:
    """Fill in what a kernel around each origin weighs; it is made wider against aliasing.

    Weights of places outside count for the outermost element, or are left out.
    """
    reach = (2 if mode == "cubic" else 1) / stretch
    last = matrix.shape[1] - 1
    for row, place in zip(matrix, origin.astype(np.float64), strict=True):
        taps = np.arange(math.floor(place - reach), math.ceil(place + reach) + 1)
        weights = _kernel(np.abs(taps - place) * stretch, mode, cubic_a)
        if excludes:
            weights = weights * ((taps >= 0) & (taps <= last))
        np.add.at(row, taps.clip(0, last), (weights / weights.sum()).astype(np.float32))


def _kernel(distance: NDArray[np.float64], mode: str, a: float) -> NDArray[np.float64]:
    """The triangle, or the cubic convolution kernel (Keys 1981, equation 4)."""
    if mode == "linear":
        return np.maximum(1 - distance, 0)
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def _nearest(at: Context, origin: NDArray[np.float32], nearest_mode: str) -> NDArray[np.int64]:
    half = np.float32(0.5)
    match nearest_mode:
        case "round_prefer_floor":
            nearest = np.ceil(origin - half)
        case "round_prefer_ceil":
            nearest = np.floor(origin + half)
        case "floor":
            nearest = np.floor(origin)
        case "ceil":
            nearest = np.ceil(origin)
        case _:
            raise at.refusal(f"nearest_mode={nearest_mode!r}")
    return np.asarray(nearest, np.int64)
