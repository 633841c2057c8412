"""The example detector, fine-tuned on the thermal twins of its training scenes."""

from functools import partial
from pathlib import Path

import click

from tools.example import exporting, store, thermal, training

CACHED = 16384
MEASURED = 4096  # scenes behind the BatchNorm statistics
RATE = 1e-3  # a third of what training from random weights starts with
DESCRIPTION = "Fashion-MNIST objects by their heat: the example detector of zqc, fine-tuned"


def fine_tune(
    source: Path, work: Path, fashion: Path, *, minutes: float, threads: int, seed: int = 0
) -> Path:
    """Fine-tune the detector `source` within a time budget and return the file.

    Everything lies in `work`: the cache of scenes (0.6 GB), the checkpoint that an interrupted run
    goes on from, and the file, which is made once.
    """
    target = work / "detector.onnx"
    if target.exists():
        return target
    if not (work / "cache" / "labels.npy").exists():
        click.echo(f"rendering {CACHED} scenes", err=True)
        make = partial(thermal.training_scene, fashion, seed)
        store.build_cache(work / "cache", make, count=CACHED, channels=1)
    cache = store.open_cache(work / "cache")
    settings = training.Settings(minutes=minutes, seed=seed, threads=threads, rate=RATE)
    checkpoint = work / "checkpoint.pt"
    training.train(cache, checkpoint, settings, start=exporting.load(source), every=60)
    model = training.averaged_model(checkpoint)
    training.measure_statistics(model, cache, count=MEASURED, threads=threads)
    exporting.export(model, target, description=DESCRIPTION)
    return target
