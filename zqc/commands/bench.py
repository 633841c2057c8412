"""The whole of ``zqc bench`` on one screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zqc.benchmark import inputs as model_inputs
from zqc.benchmark import profile
from zqc.benchmark.memory import peak_memory
from zqc.benchmark.peak import integer_peak
from zqc.benchmark.results import BenchResult, IntegerPeak, Machine, ModelBench, Spread
from zqc.commands.arguments import ImagesLike, ModelLike, images_of, model_of, progress_of
from zqc.commands.read_recipe import recipe_in
from zqc.errors import OptionError
from zqc.model_io import onnx_file
from zqc.model_io.any_model import runnable
from zqc.model_io.onnx_file import as_file
from zqc.pictures.input_format import ChannelOrder, InputFormat, is_bgr
from zqc.recipe.recipe import values_of
from zqc.runtime import cpu, session
from zqc.runtime.latency import alternating_times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zqc.progress import Progress
    from zqc.recipe.recipe import Recipe
    from zqc.runtime.kernel_times import KernelTime
    from zqc.runtime.latency import Times

_PROFILED_RUNS = 20
_SUFFIX = "ExecutionProvider"


def bench(
    float_model: ModelLike,
    quantized: ModelLike,
    *,
    images: ImagesLike | None = None,
    input_format: InputFormat | ChannelOrder = "RGB",
    input_shape: tuple[int, int] | None = None,
    inputs: Mapping[str, Any] | None = None,
    batch: int | None = None,
    threads: int = 1,
    provider: str = "CPU",
    runs: int = 50,
    progress: Progress | bool | None = None,
) -> BenchResult:
    """Measure two models that take the same inputs: latency, kernels, memory, size.

    Any two will do: both float, both quantized, whoever wrote them.

    Example:
        >>> import zqc
        >>> print(zqc.bench("model.onnx", "model.int8.onnx"))

    Args:
        float_model: The first model, which the other one is compared with: its path, an
            ``onnx.ModelProto`` or an ``onnx_ir.Model``.
        quantized: The second one, likewise.
        images: Feed pictures, as ``zqc.compile`` takes them; random pixels by default.
        input_format: How pixels become input values; what the recipe in a model that zqc has
            compiled says by default, or else 0:1.
        input_shape: Height and width, where the models leave them open; those of the recipe by
            default.
        inputs: Values of inputs beside the picture by name; what the recipe says by default, or
            else the usual ones.
        batch: Pictures at once, where the models leave it open; 1 by default.
        threads: Threads inside an operator.
        provider: An execution provider of ONNX Runtime, such as ``CPU`` or ``CUDA``.
        runs: Runs of each model, which take turns.
        progress: Where to report: True for bars; nowhere by default.

    Returns:
        Latencies, kernels, memory and sizes of both; ``print`` shows it as the command does.

    Raises:
        ModelError: A file is no ONNX model, or the inputs differ.
        InputShapeError: A size is open in both models and not given.
        OptionError: The provider is not there, or an option contradicts the models.
        ImageError: The pictures cannot be used.
        RuntimeFailure: ONNX Runtime refuses a model or failed while running it.
    """
    if min(runs, threads, 1 if batch is None else batch) < 1:
        raise OptionError(
            f"runs ({runs}), threads ({threads}) and batch ({'open' if batch is None else batch}) "
            "must each be at least 1"
        )
    pixels, beside = images_of(images)
    with (
        as_file(model_of(float_model)) as first,
        as_file(model_of(quantized)) as second,
        runnable(first) as runs_first,
        runnable(second) as runs_second,
    ):
        return _benched(
            (first, second),
            (runs_first, runs_second),
            pixels,
            input_format=input_format,
            input_shape=input_shape,
            values={**beside, **values_of(inputs)},
            batch=batch,
            threads=threads,
            chosen=provider_name(provider),
            runs=runs,
            steps=progress_of(progress),
        )


def _benched(
    paths: tuple[Path, Path],
    files: tuple[Path, Path],
    images: Path | NDArray[Any] | None,
    *,
    input_format: InputFormat | ChannelOrder,
    input_shape: tuple[int, int] | None,
    values: Mapping[str, Sequence[float]],
    batch: int | None,
    threads: int,
    chosen: str,
    runs: int,
    steps: Progress,
) -> BenchResult:
    """``bench`` of files, and of what can be run of them."""
    with steps.stage("Loading the models"):
        sizes = [onnx_file.read(path).size for path in paths]
        runners = [session.load(file, threads=threads, provider=chosen) for file in files]
    recipes = [found for runner in runners if (found := recipe_in(runner))]
    known = next((recipe.input_shape for recipe in recipes if recipe.input_shape), None)
    taken = model_inputs.common_inputs(
        [(p, model_inputs.inputs_of(r)) for p, r in zip(paths, runners, strict=True)],
        batch=batch,
        size=input_shape or known,
    )
    values = values or next((recipe.inputs for recipe in recipes if recipe.inputs), {})
    form, origin = _input_format(input_format, recipes)
    if images is None:
        feeds = model_inputs.random_feeds(taken, form, values)
        data = f"random in {form}{origin}"
    else:
        fits = [recipe.fit for recipe in recipes if recipe.fit != "auto"]
        mode = fits[0] if fits else "letterbox"
        feeds = model_inputs.picture_feeds(taken, images, form, values, mode=mode)
        where = images if isinstance(images, Path) else "the given pictures"
        data = f"{where}, {form}{origin}"
    with steps.task("Measuring", 2 * runs + 3) as task:
        times = alternating_times(runners, feeds, rounds=runs, each=task.advance)
        kernels = [
            session.profile(file, feeds, runs=_PROFILED_RUNS, threads=threads, provider=chosen)
            for file in files
        ]
        task.advance("kernels")
        memory = [peak_memory(f, feeds, threads=threads, provider=chosen) for f in files]
        task.advance("memory")
        on_integers = chosen == session.CPU and any(profile.layers(k)[1] for k in kernels)
        peak = integer_peak(threads) if on_integers else None
        task.advance("peak")
    first, second = (
        _model(path, size, took, grown, ran, peak, chosen)
        for path, size, took, grown, ran in zip(paths, sizes, times, memory, kernels, strict=True)
    )
    return BenchResult(
        machine=Machine(cpu.name(), cpu.has_vnni(cpu.features()), session.version()),
        provider=chosen,
        threads=threads,
        runs=runs,
        inputs=tuple(map(str, taken)),
        data=data,
        peak=peak,
        float_model=first,
        quantized=second,
        speedup=_speedup(*times),
    )


def provider_name(provider: str) -> str:
    """Return a provider as ONNX Runtime calls it: ``cpu`` is ``CPUExecutionProvider``.

    Raises:
        OptionError: The installed ONNX Runtime does not have it; the message names those it has.
    """
    available = session.providers()
    wanted = provider.lower().removesuffix(_SUFFIX.lower())
    for name in available:
        if name.removesuffix(_SUFFIX).lower() == wanted:
            return name
    listed = ", ".join(name.removesuffix(_SUFFIX) for name in available)
    raise OptionError(
        f"this ONNX Runtime has no execution provider {provider}; it has {listed}. Others come "
        "with other builds, such as onnxruntime-gpu or onnxruntime-openvino"
    )


def _input_format(
    asked: InputFormat | ChannelOrder, recipes: Sequence[Recipe]
) -> tuple[InputFormat, str]:
    """How pixels become input values, and who says so."""
    if isinstance(asked, InputFormat):
        return asked, ""
    for recipe in recipes:
        if isinstance(recipe.input_format, InputFormat):
            return recipe.input_format, " (from the recipe in the model)"
    return InputFormat(bgr=is_bgr(asked)), " (assumed)"


def _spread(values: Sequence[float]) -> Spread:
    low, median, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return Spread(median, low, high)


def _speedup(first: Times, second: Times) -> Spread:
    rounds = _spread([a / b for a, b in zip(first.latency, second.latency, strict=True)])
    ratio = _spread(first.latency).median / _spread(second.latency).median
    return replace(rounds, median=ratio)


def _model(
    path: Path,
    size: int,
    times: Times,
    grown: int | None,
    kernels: Sequence[KernelTime],
    peak: IntegerPeak | None,
    provider: str,
) -> ModelBench:
    layers, integer = profile.layers(kernels)
    gops = None if peak is None else peak.gops
    whole = sum(kernel.best for kernel in kernels)
    away = sum(kernel.best for kernel in kernels if kernel.provider != provider)
    return ModelBench(
        path=path,
        bytes_on_disk=size,
        latency_ms=_spread(times.latency),
        processor_ms=_spread(times.processor),
        peak_memory=grown,
        layers=layers,
        integer_layers=integer,
        kernels_ms=1e3 * whole,
        shares=profile.shares(kernels),
        elsewhere=away / whole if whole else 0.0,
        operators=profile.by_operator(kernels),
        kernels=profile.each_kernel(kernels, gops),
        dense=None if gops is None else profile.throughput(kernels, gops, grouped=False),
        grouped=None if gops is None else profile.throughput(kernels, gops, grouped=True),
    )
