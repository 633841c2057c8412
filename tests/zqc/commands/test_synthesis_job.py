"""What the options make of a synthesis."""

import onnx_ir as ir
import pytest

from tests.zqc.synthesis.small_detector import detector
from zqc.commands.inputs import CalibrationSource, begin
from zqc.commands.synthesis_job import synthesis_job
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.recipe.recipe import Recipe


@pytest.fixture
def job_of(tmp_path):
    """Finds the job of a recipe for a small detector."""
    path = tmp_path / "model.onnx"
    ir.save(detector(), path)

    def find(**options):
        recipe = Recipe(input_format=InputFormat(), **options)
        loaded, origin, *_ = begin(path, recipe, CalibrationSource(), 1)
        return synthesis_job(loaded, origin, recipe, progress=Silent(), threads=1)

    return find


def test_of_plain_pictures(job_of):
    """They match every layer, are mirrored, and know of no detector."""
    job = job_of(samples=3, seed=7, bn_terms="mean", tie_channels=True)
    assert len(job.reach.layers) == job.reach.known > 0
    assert (job.schedule.samples, job.schedule.seed) == (3, 7)
    assert (job.objective.terms, job.objective.flip) == ("mean", True)
    assert job.objective.tie_channels
    assert job.loss is None
    assert job.objective.detection == 0


def test_of_task_specific_pictures(job_of):
    """They have the detector's loss, and are not mirrored, for their labels are not."""
    job = job_of(samples=3, task_specific=True)
    assert job.loss is not None
    assert job.detector is not None
    assert job.objective.detection > 0
    assert not job.objective.flip
    assert job.schedule.sampling > 0
