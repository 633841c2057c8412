"""What is made of the runs of a sweep."""

from zqc.commands.sweep_result import Run, ranked


def run(size, agreement=None, sqnr_db=20.0, **more):
    """A run with a file of so many bytes."""
    values = {"bits": size}
    return Run(
        values=values, recipe=f"{values}", bytes=size, agreement=agreement, sqnr_db=sqnr_db, **more
    )


def test_the_best_agrees_most_and_is_the_smallest_of_those():
    """Not the first; a failed one is never it."""
    runs = [run(3, 0.9), run(9, 0.95), run(5, 0.95), run(1, error="no")]
    assert ranked(runs)[1] == 2
    assert ranked([run(1, error="no")])[1] is None


def test_labels_decide_before_agreement_and_that_before_the_outputs():
    """With mAP, AP against the float model says nothing; with neither, SQNR is left."""
    assert ranked([run(1, 0.9, mean_ap=0.5), run(1, 0.8, mean_ap=0.6)])[1] == 1
    assert ranked([run(1, 0.9, 10.0), run(1, 0.8, 30.0)])[1] == 0
    assert ranked([run(1, None, 10.0), run(1, None, 30.0)])[1] == 1


def test_the_front_is_what_nothing_beats():
    """Neither larger and no better than another, nor as large and worse."""
    runs = [run(3, 0.9), run(4, 0.9), run(5, 0.95), run(5, 0.94), run(6, 0.99, error="no")]
    assert [one.front for one in ranked(runs)[0]] == [True, False, True, False, False]


def test_equal_runs_do_not_beat_each_other():
    """Or none would be left."""
    assert all(one.front for one in ranked([run(3, 0.9), run(3, 0.9)])[0])
