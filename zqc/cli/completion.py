"""What the shell offers when Tab is pressed; docs/recipe.md says how to switch it on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from zqc import targets
from zqc.recipe.recipe import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click


def target_names(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Targets of zqc and of other packages."""
    return _beginning(targets.names(), incomplete)


def recipes(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Presets, and files."""
    return [*_beginning(PRESETS, incomplete), CompletionItem(incomplete, type="file")]


def layer_names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Layers of the model that the command line names already; nothing if it cannot be read."""
    # The option before the cursor has no value yet, so click leaves arguments where they are.
    model = next(map(Path, context.args), context.params.get("model"))
    if model is None or not model.is_file():
        return []
    try:
        import onnx_ir as ir

        from passes.analysis.topology import weighted_layers

        names = [node.name or "" for node in weighted_layers(ir.load(model).graph)]
    except Exception:  # whatever is wrong with the file, Tab is no place to say so
        return []
    return _beginning(filter(None, names), incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
