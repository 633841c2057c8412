"""Which layers to spare."""

from zqc.diagnosis.suggestion import Price, enough, in_order, steps


def test_the_best_for_its_bytes_comes_first():
    """A gain of 2 for 10 bytes before one of 3 for 100; what gains nothing is left out."""
    prices = [Price("large", 3.0, 100), Price("small", 2.0, 10), Price("idle", 0.0, 1)]
    assert [price.name for price in in_order(prices, 1000)] == ["small", "large"]


def test_the_budget_passes_over_what_is_too_large():
    """A smaller layer behind it still fits."""
    prices = [Price("a", 9.0, 60), Price("b", 5.0, 50), Price("c", 1.0, 40)]
    assert [price.name for price in in_order(prices, 100)] == ["a", "c"]


def test_few_layers_are_tried_one_by_one():
    """Many with growing gaps, from one to all of them."""
    assert steps(3) == [1, 2, 3]
    assert steps(0) == []
    many = steps(200)
    assert len(many) <= 25
    assert many[0] == 1
    assert many[-1] == 200
    assert many == sorted(set(many))


def test_the_fewest_that_are_as_good_as_any():
    """Half a decibel more is not worth a layer; nor is any layer that gains no more than that."""
    assert enough(1.0, [0.5, 0.21, 0.2]) == 1
    assert enough(1.0, [0.98, 0.95]) is None
    assert enough(1.0, []) is None
