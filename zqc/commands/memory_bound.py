"""What the bound on memory means for calibration and synthesis."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zqc.errors import OptionError
from zqc.parsing.memory_size import memory_size
from zqc.parsing.text import ParseError
from zqc.pictures.batches import MOST_AT_ONCE, Batches
from zqc.pictures.memory import GRADIENTS, MEMORY, VALUES, memory_needed, pictures_at_once
from zqc.pictures.model_input import fixed_batch

if TYPE_CHECKING:
    import onnx_ir as ir

    from zqc.pictures.images import ImageSet
    from zqc.progress import Progress
    from zqc.recipe.plan import Plan

_PAIR = 2
"""Pictures that a thread of the synthesis works on, see ``zqc.synthesis.loop.Schedule``; as many as
the model is fixed to, if these are more."""


def asked_memory(memory: int | str | None) -> int:
    """Bytes that the process may take, from what is asked for.

    Raises:
        OptionError: It is no amount of memory.
    """
    try:
        return MEMORY if memory is None else memory_size(memory)
    except ParseError as error:
        raise OptionError(f"memory {error}") from error


def batches_within(
    plan: Plan, pictures: ImageSet, prepared: ir.Model, progress: Progress
) -> Batches:
    """The calibration set in batches that memory holds; it is said where it holds none.

    Args:
        plan: What is asked for.
        pictures: The calibration set.
        prepared: The model that is calibrated, with inferred shapes.
        progress: Where it is said.
    """
    recipe = plan.recipe
    sizes = GRADIENTS if recipe.weighs_errors or recipe.mixes_activations else VALUES
    most = pictures_at_once(prepared, plan.memory, most=MOST_AT_ONCE, sizes=sizes)
    batches = Batches.of(pictures, prepared, most=most)
    needed = memory_needed(prepared, batches.size, sizes=sizes)
    if needed > plan.memory:
        one = batches.size == 1
        what = "one picture" if one else f"the {batches.size} pictures of the fixed batch"
        progress.say(
            f"Calibrating with {what} at a time takes about {needed / 1e9:.1f} GB of memory, more "
            f"than the {plan.memory / 1e9:.1f} GB of --memory; it is tried all the same"
        )
    return batches


def synthesis_threads(model: ir.Model, threads: int | None, memory: int) -> int:
    """On how many threads pictures are synthesised, each of which holds some; it changes no byte.

    Args:
        model: The model, with inferred shapes.
        threads: How many there may be; all cores for None.
        memory: What the process may take, in bytes.
    """
    wanted, each = threads or os.cpu_count() or 1, max(_PAIR, fixed_batch(model) or 0)
    return max(1, pictures_at_once(model, memory, most=each * wanted) // each)
