"""The geometry of a sliding window, shared by convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context


@dataclass(frozen=True)
class Window:
    """One window per output position; one entry per spatial axis in every field.

    Attributes:
        kernel: Taps.
        strides: Steps between windows.
        dilations: Steps between taps.
        begins: Padding in front.
        ends: Padding behind such that the last window just ends there. It is negative when the
            stride leaves the last elements unread, and larger than the attribute ``pads`` when
            ``ceil_mode`` adds a window.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def axes(self) -> range:
        """Spatial axes of an N×C×… tensor."""
        return range(2, 2 + len(self.kernel))

    @property
    def extents(self) -> tuple[int, ...]:
        """Elements that a window spans."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def is_pointwise(self) -> bool:
        """Whether each window is one element and each element one window."""
        return set(self.kernel + self.strides) == {1} and not any(self.begins + self.ends)


def window(
    at: Context,
    image: ir.Value,
    grid: ir.Value,
    *,
    kernel: Sequence[int],
    auto_pad: str,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
) -> Window:
    """Return the window that slides over ``image`` and stops once per element of ``grid``.

    Raises:
        InputShapeError: A size that matters is dynamic.
    """
    count = len(kernel)
    strides = tuple(strides or (1,) * count)
    dilations = tuple(dilations or (1,) * count)
    pads = tuple(pads or (0,) * 2 * count)
    shape = Window(tuple(kernel), strides, dilations, pads[:count], pads[count:])
    if auto_pad == "VALID":
        shape = Window(shape.kernel, strides, dilations, (0,) * count, (0,) * count)
    same = auto_pad.startswith("SAME")
    if not same and set(strides) == {1}:
        return shape  # the sizes do not matter, so they may be dynamic
    sizes, stops = at.sizes(image, shape.axes), at.sizes(grid, shape.axes)
    totals = tuple(
        stride * (stop - 1) + extent - size
        for stride, stop, extent, size in zip(strides, stops, shape.extents, sizes, strict=True)
    )
    begins = shape.begins
    if same:
        odd = auto_pad == "SAME_LOWER"
        begins = tuple((max(0, total) + odd) // 2 for total in totals)
    ends = tuple(total - begin for total, begin in zip(totals, begins, strict=True))
    return Window(shape.kernel, strides, dilations, begins, ends)
