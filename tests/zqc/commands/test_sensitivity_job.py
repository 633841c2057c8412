"""What ``zqc sensitivity`` evaluates."""

import numpy as np
import pytest

from tests.diagnosed import job_of, quantized, tensors
from zqc.commands.sensitivity_job import Evaluator
from zqc.diagnosis.cache import Cache
from zqc.diagnosis.evaluate import hash_of
from zqc.progress import Silent
from zqc.runtime import session


class Counting(Silent):
    """What was done, and in how many steps."""

    def __init__(self):
        self.seen = []

    def task(self, name, total):
        """Note the name and the steps."""
        self.seen.append((name, total))
        return super().task(name, total)


def store_of(job):
    """Keeps evaluations in memory."""
    return Cache(hash_of(job.subject.quantizable, job.bench), None, resume=False)


def test_the_content_is_that_of_the_target():
    """A file that runs, and puts out what the compiled one does."""
    job = job_of(bits=4)
    outcome = quantized(bits=4)[2]
    content = job.content(outcome.written.quantized.clone())
    one, other = (
        session.load(each, threads=1)({"images": tensors()})
        for each in (content, outcome.written.content)
    )
    assert set(one) == {"boxes", "scores"}
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_restored_layers_have_more_bits():
    """Sparing a layer of 4 bits is nearer to the float model; a head is its own outputs' alone."""
    job = job_of(bits=4)
    variants = [job.restored(spared) for spared in ([], ["deep"], ["score_head"])]
    none, deep, head = Evaluator(job, store_of(job), 1, None, Silent()).effects("", variants)
    assert deep.boxes_db > none.boxes_db + 0.3
    assert deep.scores_db > none.scores_db + 0.3
    assert none.boxes_db == pytest.approx(head.boxes_db)
    assert head.scores_db != none.scores_db


def test_an_evaluator_counts_and_keeps_what_it_evaluates():
    """One task of so many steps, the effects in their order, and the same ones the next time."""
    job, progress = job_of(bits=4), Counting()
    evaluator = Evaluator(job, store_of(job), 1, None, progress)
    variants = [job.subject.everything(), *job.subject.alone()[:2]]
    effects = evaluator.effects("Evaluating", variants)
    assert progress.seen == [("Evaluating", 3)]
    assert [each.error > 0 for each in effects] == [True] * 3
    turned = evaluator.effects("Again", variants[::-1])
    assert turned[::-1] == effects
