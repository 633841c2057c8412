"""What ``zqc sensitivity`` evaluates: a model that is quantized, with some of its layers spared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from zqc.diagnosis.cache import Cache
from zqc.diagnosis.effects import Bench, Effect
from zqc.diagnosis.evaluate import evaluated
from zqc.diagnosis.layerwise import Subject
from zqc.diagnosis.variants import Variant
from zqc.model_io import model_file
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.batches import Batches
from zqc.pipeline import Outcome
from zqc.progress import Progress
from zqc.recipe.plan import Plan


@dataclass(frozen=True)
class Job:
    """What the evaluations work with.

    Attributes:
        loaded: The float model.
        plan: What is asked for.
        batches: The calibration data.
        outcome: What the pipeline made of them.
        subject: The quantized model, to be taken apart.
        bench: Measures what comes out.
    """

    loaded: LoadedModel
    plan: Plan
    batches: Batches
    outcome: Outcome
    subject: Subject
    bench: Bench

    @property
    def model(self) -> ir.Model:
        """The canonical float model."""
        return self.outcome.candidate.model

    def restored(self, spared: Sequence[str]) -> Variant:
        """All layers quantized, some of them with more bits, or float."""
        ranges = self.outcome.candidate.ranges
        return self.subject.restored(spared, self.model, ranges, self.plan)

    def lowered(self, quantized: ir.Model) -> ir.Model:
        """What the target makes of a canonical quantized model."""
        return self.plan.target.lower(quantized, self.plan.recipe.min_runtime)

    def content(self, quantized: ir.Model) -> bytes:
        """What can be run and compared of the file of a canonical model."""
        whole = not self.loaded.ends.reasons
        return model_file.serialize(
            self.lowered(quantized), metadata={}, source=self.loaded, whole=whole
        )


@dataclass(frozen=True)
class Evaluator:
    """Evaluates variants of a job.

    Attributes:
        job: The job.
        store: Keeps what is finished.
        jobs: Evaluations at once; as many as there are cores for None.
        dask: Address of a Dask scheduler whose workers evaluate.
        progress: Counts the variants.
    """

    job: Job
    store: Cache
    jobs: int | None
    dask: str | None
    progress: Progress

    def effects(self, name: str, variants: Sequence[Variant]) -> list[Effect]:
        """What comes out of each variant; ``name`` says what is being done.

        Raises:
            ZqcError: See ``evaluated``.
        """
        with self.progress.task(name, len(variants)) as task:
            return evaluated(
                self.job.subject.quantizable,
                self.job.bench,
                variants,
                cache=self.store,
                task=task,
                jobs=self.jobs,
                dask=self.dask,
            )
