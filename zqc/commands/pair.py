"""A float model and its quantized one, loaded to be run side by side on the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.operators import PAIR, PICKING
from zqc.benchmark.inputs import Input, common_inputs, inputs_of, model_inputs
from zqc.commands.read_recipe import recipe_in
from zqc.detection.conventions.convention import Facts
from zqc.detection.parts import OutputPart, output_parts
from zqc.errors import ModelError, RuntimeFailure, ZqcError
from zqc.model_io import model_file
from zqc.model_io.any_model import split_file
from zqc.model_io.ends import Ends
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.model_input import ModelInputs
from zqc.recipe.recipe import Recipe
from zqc.runtime.session import Runner, load

Outputs = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class OneModel:
    """A model and its inputs.

    Attributes:
        path: Its file.
        runner: It, loaded: its own outputs, as far as they can be had, and those of ``part``.
        inputs: What it is fed with.
        part: What of it can be compared, see ``zqc.model_io.ends``.
        left: Its outputs that cannot, by name, with why.
    """

    path: Path
    runner: Runner
    inputs: tuple[Input, ...]
    part: ir.Model
    left: Mapping[str, str]

    @property
    def compared(self) -> tuple[str, ...]:
        """Names of what can be compared."""
        return tuple(value.name or "" for value in self.part.graph.outputs)

    @property
    def selects(self) -> bool:
        """Whether the number of instances depends on the picture even in what can be compared."""
        return any(node.op_type in PICKING for node in self.part.graph)

    def __call__(self, feeds: Mapping[str, NDArray[np.generic]]) -> Outputs:
        """Run the model; half-precision outputs become float32."""
        try:
            outputs = self.runner(feeds)
        except RuntimeFailure as error:
            raise RuntimeFailure(f"{self.path}: {error}") from error
        return {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in outputs.items()
        }


@dataclass(frozen=True)
class Pair:
    """Two models that take the same inputs and have the same outputs.

    Attributes:
        first: The float model.
        second: The quantized one.
        inputs: What makes the inputs of both from pictures.
        values: The given values of inputs beside the picture.
        shape: Sizes (N, C, H, W) of a batch.
        declared: The sizes of the picture input as the models have them.
        outputs: Name and shape of each output of a batch of zeros.
        compared: Likewise of what is compared value by value.
        recipe: What the quantized model was compiled with, where zqc did.
    """

    first: OneModel
    second: OneModel
    inputs: ModelInputs
    values: Mapping[str, Sequence[float]]
    shape: tuple[int, int, int, int]
    declared: tuple[int, ...]
    outputs: Mapping[str, tuple[int, ...]]
    compared: Mapping[str, tuple[int, ...]]
    recipe: Recipe | None

    def doubts(self) -> tuple[str, ...]:
        """What speaks against the two being a float model and a quantized one, in this order."""
        first, second = (_is_quantized(model.part) for model in (self.first, self.second))
        if not first:
            return ()
        if second:
            return ("the first file is quantized, too",)
        return ("the first file is quantized and the second is not: are they swapped?",)

    def run(self, tensors: NDArray[np.float32]) -> tuple[Outputs, Outputs]:
        """Run both on so many pictures as a batch has, or fewer: the last one is repeated then.

        Returns:
            What belongs to these pictures.
        """
        one, other = self.outputs_of((self.first, self.second), tensors)
        return one, other

    def outputs_of(self, models: Sequence[OneModel], tensors: NDArray[np.float32]) -> list[Outputs]:
        """The same for models with these inputs and outputs."""
        count, batch = len(tensors), self.shape[0]
        filled = np.concatenate([tensors, np.repeat(tensors[-1:], batch - count, 0)])
        feeds = self.inputs.feeds(filled)
        return [self._cut(model(feeds), count) for model in models]

    def _cut(self, outputs: Outputs, count: int) -> Outputs:
        if count == self.shape[0]:
            return outputs
        return {name: value[:count] for name, value in outputs.items()}

    def unfused(self, threads: int | None) -> OneModel:
        """The quantized model, all of whose nodes run as they are written.

        Each layer is computed in float then, so that nothing saturates that integers would hold.
        """
        return _open(self.second.path, threads, optimize=False)

    @cached_property
    def loaded(self) -> LoadedModel | ZqcError:
        """The float model as ``compile`` reads it, or why it does not take it.

        Any two models may be compared, also those that cannot be compiled.
        """
        try:
            return model_file.load(self.first.path, input_shape=self.shape[2:], inputs=self.values)
        except ZqcError as error:
            return error

    @cached_property
    def parts(self) -> tuple[OutputPart, ...]:
        """What stands where in what is compared, as far as the graph shows it.

        Exporters that fold no constants compute the shapes of a Reshape, and a layout with such a
        shape can be traced in the simplified graph only.
        """
        name = self.inputs.picture.name
        if isinstance(self.loaded, LoadedModel):
            model = self.loaded.model
            if set(self.compared) <= {value.name for value in model.graph.outputs}:
                return output_parts(_with_shapes(model, name, self.shape, self.compared))
        return output_parts(_with_shapes(self.first.part, name, self.declared, self.compared))

    def facts(self) -> Facts:
        """What is known of the detector; the graph is the whole one, selections included."""
        if isinstance(self.loaded, LoadedModel):
            graph = self.loaded.whole().graph
        else:
            graph = self.first.part.graph
        _, _, height, width = self.shape
        metadata = dict(self.first.part.metadata_props)
        return Facts(self.outputs, height, width, metadata, graph, self.parts)


def _is_quantized(model: ir.Model) -> bool:
    kinds = {node.op_type for node in model.graph}
    return any(kind in PAIR or kind.startswith("QLinear") for kind in kinds)


def open_pair(
    paths: tuple[Path, Path],
    *,
    input_shape: tuple[int, int] | None,
    values: Mapping[str, Sequence[float]],
    threads: int | None,
) -> Pair:
    """Load two models and find out what both can be fed with.

    An open batch is 1, open channels are 3. Values that are not given are those of the recipe in
    the quantized model, or else the usual ones.

    Raises:
        ModelError: The inputs or the outputs differ, or a file cannot be read.
        InputShapeError: Height and width are open in both models and not given.
        OptionError: There is no such input.
        RuntimeFailure: ONNX Runtime refuses one of them.
    """
    first, second = (_open(path, threads) for path in paths)
    recipe = recipe_in(second.runner)
    if recipe is not None:
        input_shape = input_shape or recipe.input_shape
        values = values or recipe.inputs
    models = [(model.path, model.inputs) for model in (first, second)]
    inputs = common_inputs(models, size=input_shape)
    taken, shape = model_inputs(inputs, values)
    (picture,) = (one for one in inputs if one.name == taken.picture.name)
    declared = tuple(size for size in picture.sizes if isinstance(size, int))
    outputs, compared = _output_shapes(first, second, taken.feeds(np.zeros(shape, np.float32)))
    return Pair(first, second, taken, values, shape, declared, outputs, compared, recipe)


def _open(path: Path, threads: int | None, *, optimize: bool = True) -> OneModel:
    if not path.is_file():
        raise ModelError(f"model {path} does not exist")
    raw, part, ends = split_file(path)
    try:
        runner = _runner(path, raw, part, ends, threads, optimize=optimize)
    except RuntimeFailure as error:
        raise RuntimeFailure(f"{path}: {error}") from error.__cause__
    return OneModel(path, runner, inputs_of(runner), part, ends.reasons)


def _runner(
    path: Path,
    raw: ir.Model,
    part: ir.Model,
    ends: Ends,
    threads: int | None,
    *,
    optimize: bool,
) -> Runner:
    """What runs as much of a file as can be run."""
    if not ends.reasons:
        return load(path, threads=threads, optimize=optimize)
    if ends.foreign:
        return load(part, threads=threads, optimize=optimize)
    # What cannot be compared can be run, and its instances have boxes.
    new = {value.name for value in part.graph.outputs} - set(ends.outputs)
    raw.graph.outputs.extend(v for n in raw.graph for v in n.outputs if v.name in new)
    arrays = [v for v in raw.graph.outputs if v.type is None or isinstance(v.type, ir.TensorType)]
    names = [v.name or "" for v in arrays]
    return load(raw, outputs=names, threads=threads, optimize=optimize)


def _output_shapes(
    first: OneModel, second: OneModel, zeros: Mapping[str, NDArray[np.generic]]
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """The shapes of the outputs of both models, and of those of them that are compared.

    Raises:
        ModelError: The two do not have the same outputs.
    """
    one, other = ({n: v.shape for n, v in model(zeros).items()} for model in (first, second))
    both = [name for name in first.compared if name in one and name in other]
    left = first.left.keys() | second.left.keys()
    # Of a file that others have quantized, what is compared before a selection may be gone.
    missing = (one.keys() ^ other.keys()) - left - (set(first.compared) if left else set())
    shapes = ({name: known[name] for name in both} for known in (one, other))
    if missing or (len({tuple(known.items()) for known in shapes}) > 1 and not first.selects):
        raise ModelError(
            f"the outputs differ: {_text(one)} in {first.path}, {_text(other)} in "
            f"{second.path}; give the model that was compiled"
        )
    return one, {name: one[name] for name in both}


def _with_shapes(
    model: ir.Model,
    input_name: str,
    shape: tuple[int, ...],
    outputs: Mapping[str, tuple[int, ...]],
) -> ir.Model:
    """A copy of a model with some of its outputs and their shapes, and that of its input."""
    copy = model.clone()
    for value in copy.graph.inputs:
        if value.name == input_name:
            value.shape = ir.Shape(shape)
    found = {value.name: value for value in copy.graph.outputs}
    copy.graph.outputs.clear()
    for name, sizes in outputs.items():
        found[name].shape = ir.Shape(sizes)
        copy.graph.outputs.append(found[name])
    return copy


def _text(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, sizes))}" for name, sizes in shapes.items())
