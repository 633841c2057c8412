"""Evaluations in threads and on a cluster."""

import pytest

from tests.diagnosed import subject
from tests.tasks import Counter
from zqc.diagnosis.cache import Cache
from zqc.diagnosis.evaluate import evaluated, hash_of


def effects(cache=None, **options):
    """All layers alone and all together, and how many steps were told."""
    found, bench = subject(bits=4)
    task = Counter()
    variants = [found.everything(), *found.alone()]
    got = evaluated(
        found.quantizable, bench, variants, cache=cache or Cache(""), task=task, **options
    )
    assert task.steps == len(variants)
    return got


def test_jobs_make_no_difference():
    """One after another or two at once, the effects are the same to the last bit."""
    assert repr(effects(jobs=1)) == repr(effects(jobs=2))


def test_a_local_cluster_gives_the_same():
    """The same code on the worker of a Dask scheduler in this process."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        assert repr(effects(dask=cluster.scheduler_address)) == repr(effects(jobs=1))


def test_what_is_known_is_not_evaluated_again(tmp_path, monkeypatch):
    """A file of effects takes the place of all work."""
    path = tmp_path / "kept.jsonl"
    before = effects(cache=Cache("net", path), jobs=1)

    def never(*_):
        raise AssertionError("evaluated again")

    monkeypatch.setattr("zqc.diagnosis.evaluate.effects_of", never)
    assert repr(effects(cache=Cache("net", path, resume=True), jobs=1)) == repr(before)


def test_the_hash_tells_models_apart():
    """Other bits make another subject; the same ones the same."""
    assert hash_of(subject(bits=4)[0].quantizable, subject(bits=4)[1]) == hash_of(
        subject(bits=4)[0].quantizable, subject(bits=4)[1]
    )
    hashes = {hash_of(subject(bits=b)[0].quantizable, subject(bits=b)[1]) for b in (3, 4, 8)}
    assert len(hashes) == 3
