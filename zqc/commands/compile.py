"""The whole pipeline: a float detector goes in, a quantized one and a report come out."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import edge_layers, weighted_layers
from zqc import targets
from zqc.calibration.analytic_moments import analytic_moments
from zqc.calibration.calibrate import Ranges
from zqc.calibration.channel_moments import ChannelMoments
from zqc.commands import inputs
from zqc.commands.inputs import begin
from zqc.commands.origin import Origin
from zqc.detection.agreement import PartAgreement, output_agreement
from zqc.errors import OptionError
from zqc.files import FilePath, atomic_write, check_file, to_path
from zqc.mixed_precision.choice import chosen_bits
from zqc.model_io import model_file
from zqc.pictures.batches import batches_of
from zqc.pictures.images import ImageSet
from zqc.pictures.model_input import fixed_batch, input_name
from zqc.progress import Progress, Silent
from zqc.quantization import quantize
from zqc.quantization.choose_equalization import calibrate_best
from zqc.quantization.equalize import Equalized, equalize
from zqc.quantization.prepare import kept_float, prepare
from zqc.recipe.recipe import BiasCorrection, Recipe
from zqc.recipe.toml import METADATA_KEY, to_toml
from zqc.runtime import cpu, executed, saturation, session
from zqc.runtime.executed import FloatOperators, LayerReport
from zqc.runtime.latency import median_latencies
from zqc.statistics.input_choice import InputChoice
from zqc.targets import Kernels
from zqc.version import __version__

_NOISE_CAUTION = (
    "calibrated with structured noise, which knows nothing of what the network has learned: ranges "
    "may be far off, so check the result on real pictures; --statistics or --images do better"
)


def compile_model(
    source: FilePath,
    output: FilePath | None = None,
    *,
    recipe: Recipe | None = None,
    images: FilePath | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
) -> CompileResult:
    """Quantize a float detector.

    Args:
        source: A float ONNX model.
        output: Where the result goes; ``MODEL.int8.onnx`` or the like beside the input by default.
        recipe: What is asked for.
        images: A folder of pictures or an array file to calibrate with instead of synthesised ones.
        statistics: A statistics card or a twin of the model with BatchNorm, to synthesise from.
        no_statistics: Whether structured noise will do, for a model without any statistics.
        progress: Where long work reports to; nowhere by default.
        threads: Threads of ONNX Runtime; all cores by default.

    Raises:
        ZqcError: See ``zqc.errors``; nothing is written then.
    """
    started = time.monotonic()
    recipe, progress = recipe or Recipe(), progress or Silent()
    source, output = to_path(source), to_path(output)
    target = targets.find(recipe.target)
    target.check(recipe)
    given = inputs.Source(
        images=to_path(images), statistics=to_path(statistics), no_statistics=no_statistics
    )
    loaded, origin, input_format, choice = begin(source, recipe, given, threads)
    output = _output(source, output, recipe)
    recipe = replace(recipe, input_format=input_format)

    model = prepare(loaded.model, recipe)
    kept = kept_float(model, recipe.keep_float)
    pictures = inputs.gather(
        loaded.model, origin, recipe, input_format, given, progress=progress, threads=threads
    )
    batches = partial(batches_of, pictures, model)
    means_from = _means_from(recipe, origin, pictures)
    asks_for_statistics = "statistics" in (recipe.equalization, means_from)
    analytic = analytic_moments(model, origin.layers) if asks_for_statistics else {}
    forms = equalize(model, recipe, kept, batches, analytic, threads=threads)
    best = calibrate_best(
        forms,
        recipe,
        kept,
        batches,
        partial(_means, means_from, analytic),
        pictures=len(pictures),
        progress=progress,
        threads=threads,
    )
    model, ranges, equalized = best.model, best.ranges, best.equalized
    metadata = _metadata(loaded, recipe, pictures)
    bits_of: Mapping[str, int] = {}
    if recipe.target_size is not None or recipe.target_latency is not None:
        bits_of = chosen_bits(
            model, loaded, ranges, recipe, kept, batches, metadata=metadata, threads=threads
        )
    if recipe.rounding == "refitted" or recipe.bias_correction == "outputs":
        with progress.task("Refitting", len(weighted_layers(model.graph))) as task:
            quantized = quantize.refit(
                model, ranges, recipe, kept, batches, bits_of=bits_of, task=task, threads=threads
            )
    else:
        quantized = quantize.quantize(
            model, ranges, recipe, kept, means=best.means, bits_of=bits_of
        )
    lowered = quantize.lower(quantized, recipe)

    # Everything is proven on the bytes; only then does the file appear.
    content = model_file.serialize(lowered, metadata=metadata)
    graph = session.executed_graph(content, arm=target.kernels == "arm")
    layers = executed.layer_reports(
        quantized, graph, kept, quantize.bits_by_layer(model, recipe, bits_of)
    )
    float_operators = executed.float_operators(graph, kept)
    if recipe.require_integer:
        executed.require_integer(layers, float_operators)
    with progress.task("Comparing", len(pictures)) as task:
        compared = partial(batches_of, pictures, lowered)
        agreement = output_agreement(loaded.model, content, compared, task=task, threads=threads)
    before, after = math.nan, math.nan
    if target.kernels == "here":
        before, after = _latencies(loaded.model, content, pictures)
    with atomic_write(output) as file:
        file.write(content)
    edges = {node.name for node in edge_layers(model.graph)}
    return CompileResult(
        output=output,
        precision=recipe.precision,
        target=recipe.target,
        input_choice=choice,
        calibration=pictures.source,
        caution=_NOISE_CAUTION if no_statistics else "",
        saturation=saturation.warning(layers, recipe.target, cpu.features()),
        layers=layers,
        float_operators=float_operators,
        agreement=agreement,
        bytes_before=loaded.bytes_on_disk,
        bytes_after=len(content),
        latency_before_ms=before,
        latency_after_ms=after,
        post_processing=executed.tail_starts(equalized.model),  # the user's, without divisions
        first_last=tuple(node.name or "" for node in model.graph if node.name in edges),
        seconds=time.monotonic() - started,
        bits_chosen=bool(bits_of),
        kernels=target.kernels,
        refused=tuple(equalized.refused.items()),
    )


def effective_recipe(
    source: FilePath,
    output: FilePath | None = None,
    *,
    recipe: Recipe | None = None,
    images: FilePath | None = None,
    statistics: FilePath | None = None,
    no_statistics: bool = False,
    threads: int | None = None,
) -> Recipe:
    """Return the recipe that ``compile_model`` would work with: the input format is known then.

    Pictures are neither synthesised nor read, and nothing is written.

    Args: See ``compile_model``.

    Raises:
        ZqcError: What would stop ``compile_model`` before there are pictures.
    """
    recipe = recipe or Recipe()
    source, output = to_path(source), to_path(output)
    targets.find(recipe.target).check(recipe)
    given = inputs.Source(
        images=to_path(images), statistics=to_path(statistics), no_statistics=no_statistics
    )
    loaded, _, input_format, _ = begin(source, recipe, given, threads)
    _output(source, output, recipe)
    recipe = replace(recipe, input_format=input_format)
    kept_float(prepare(loaded.model, recipe), recipe.keep_float)
    return recipe


def _means_from(recipe: Recipe, origin: Origin, pictures: ImageSet) -> BiasCorrection:
    """What the bias correction knows means from: ``auto`` is decided here.

    Synthesised pictures do not reach the means of the statistics everywhere; pictures of the user's
    own may come from elsewhere than the training pictures.
    """
    if recipe.bias_correction != "auto":
        return recipe.bias_correction
    return "statistics" if pictures.synthesised and origin.layers else "pictures"


def _means(
    means_from: BiasCorrection,
    analytic: Mapping[str, ChannelMoments],
    ranges: Ranges,
    equalized: Equalized,
) -> Mapping[str, NDArray[np.float64]]:
    """Means of the tensors for the bias correction."""
    if means_from == "statistics":
        return equalized.scaled({name: moments.mean for name, moments in analytic.items()})
    return ranges.means if means_from == "pictures" else {}


def _output(source: Path, output: Path | None, recipe: Recipe) -> Path:
    """Where the result goes, which must be writable and not the input."""
    output = output or source.with_name(f"{source.stem}.{recipe.precision}.onnx")
    check_file(output)
    if output.exists() and output.samefile(source):
        raise OptionError(f"the output {output} is the input; give another one with -o")
    return output


def _latencies(model: ir.Model, content: bytes, pictures: ImageSet) -> tuple[float, float]:
    """Median latency of both models on the smallest batch, one thread, in milliseconds."""
    smallest = fixed_batch(model) or 1
    feeds = {input_name(model): next(batches_of(pictures, model))[:smallest]}
    runners = [session.load(model, threads=1), session.load(content, threads=1)]
    before, after = median_latencies(runners, feeds)
    return before, after


def _metadata(loaded: model_file.Source, recipe: Recipe, pictures: ImageSet) -> dict[str, str]:
    return {
        "version": __version__,
        "precision": recipe.precision,
        METADATA_KEY: to_toml(recipe),
        "source_sha256": loaded.sha256,
        "calibration": pictures.source,
    }


@dataclass(frozen=True)
class CompileResult:
    """The outcome of ``zqc.compile``.

    Attributes:
        output: The file that was written.
        precision: ``int8``, ``w4a8``, …
        target: What it was lowered for.
        input_choice: How pixels become input values.
        calibration: Where the calibration data came from, in words.
        caution: What speaks against relying on them; empty where nothing does.
        saturation: What speaks against the weights on this processor; empty where nothing does.
        bits_chosen: Whether the bits of each layer were chosen for a target size or latency.
        kernels: Where the integer kernels of the target are, see ``zqc.targets.Target``. Elsewhere,
            layers say what the installed ONNX Runtime makes of the file all the same.
        refused: Layers whose output channels could not be equalized, with why; empty where it was
            not asked for.
        layers: Every weighted layer, in graph order.
        float_operators: Operators other than weighted layers that run in float, by reason.
        agreement: Agreement with the float model on the calibration pictures, per output part.
        bytes_before: Size of the float model in bytes, external data included.
        bytes_after: Size of the output in bytes.
        latency_before_ms: Median latency of the float model, one picture, one thread; NaN where
            the target's kernels are not here.
        latency_after_ms: The same of the output.
        post_processing: First nodes of the post-processing, which stays float.
        first_last: Names of the layers that have the first/last bits.
        seconds: Wall time of the compilation.
    """

    output: Path
    precision: str
    target: str
    input_choice: InputChoice
    calibration: str
    layers: tuple[LayerReport, ...]
    float_operators: tuple[FloatOperators, ...]
    agreement: tuple[PartAgreement, ...]
    bytes_before: int
    bytes_after: int
    latency_before_ms: float
    latency_after_ms: float
    post_processing: tuple[str, ...]
    first_last: tuple[str, ...]
    seconds: float
    caution: str = ""
    saturation: str = ""
    bits_chosen: bool = False
    kernels: Kernels = "here"
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def integer_layers(self) -> int:
        """Number of weighted layers on integer kernels."""
        return sum(layer.integer for layer in self.layers)
