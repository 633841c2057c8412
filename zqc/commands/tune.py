"""What ``zqc tune`` does: a compilation whose weights are trained, for long by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zqc.commands.compile import CompileResult, compile_model
from zqc.recipe.recipe import TUNED

if TYPE_CHECKING:
    from zqc.commands.arguments import ModelLike
    from zqc.files.places import FilePath
    from zqc.recipe.recipe import Recipe


def tune_model(
    model: ModelLike,
    output: FilePath | None = None,
    *,
    recipe: Recipe | FilePath | None = None,
    **options: Any,
) -> CompileResult:
    """Quantize a float detector and train its weights and biases against it.

    Without a recipe it is ``zqc.compile`` with ``effort="thorough"`` and ``rounding="learned"``,
    whatever the bits. Ctrl-C while weights are trained keeps the best so far, and the same call
    goes on from there.

    Example:
        >>> import zqc
        >>> zqc.tune("model.onnx", bits=4, act_bits=4, task_specific=True, progress=True)

    Args:
        model: A float ONNX model: its path, an ``onnx.ModelProto`` or an ``onnx_ir.Model``.
        output: Where the result goes, see ``zqc.compile``.
        recipe: What is asked for, see ``zqc.compile``; weights are learned in any case.
        **options: The other arguments of ``zqc.compile``: ``images`` and their ``labels``,
            ``progress``, …, and fields of ``Recipe`` such as ``loss_weights={"detection": 0.1}``,
            ``pictures_seen``, ``rate`` and ``ema``.

    Returns:
        What was written and what it cost; ``print`` shows it as the command does.

    Raises:
        ZqcError: See ``zqc.compile``.
        TypeError: There is no such option, or it is ``rounding``.
    """
    if "rounding" in options:
        raise TypeError("there is no option 'rounding': zqc.tune learns weights in any case")
    base = TUNED if recipe is None else recipe
    return compile_model(model, output, recipe=base, rounding=TUNED.rounding, **options)
