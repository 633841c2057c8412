"""Products taken apart."""

import pytest

from passes.canonicalize.factors import factors, private_producer, product

HEAD = "(float[2,3] x, float[2,3] z) => (float[2,3] y)"
PRODUCTS = {
    "y = Mul(x, z)": 1.0,
    "h = Mul(x, half) y = Mul(h, z)": 0.5,
    "h = Div(z, half) y = Mul(x, h)": 2.0,
    "p = Mul(x, z) y = Mul(half, p)": 0.5,
    "p = Mul(x, z) y = Div(p, half)": 2.0,
    "a = Mul(half, x) b = Mul(z, half) y = Mul(a, b)": 0.25,
}


def last_node(build, body):
    """The node that computes y."""
    arrays = {"half": 0.5} if "half" in body else {}
    return build(f"{HEAD} {{ {body} }}", **arrays).graph[-1]


@pytest.mark.parametrize(("body", "number"), PRODUCTS.items(), ids=PRODUCTS.keys())
def test_the_number_may_stand_anywhere(build, body, number):
    """Two tensors, in their order, and what they are multiplied with."""
    found, values = factors(last_node(build, body))
    assert found == number
    assert [value.name for value in values] == ["x", "z"]


@pytest.mark.parametrize(
    "body", ["y = Add(x, z)", "y = Mul(x, half)", "a = Mul(x, z) b = Mul(x, z) y = Mul(a, b)"]
)
def test_other_products_are_none(build, body):
    """A sum, one tensor, four of them."""
    assert factors(last_node(build, body)) is None


def test_a_quotient_of_tensors_has_no_factor(build):
    """It is no product of tensors."""
    assert product(last_node(build, "y = Div(x, z)")) == (1.0, [])


def test_a_part_that_is_read_elsewhere_is_nobodys(build):
    """A producer is private while one node alone reads what it computes."""
    node = last_node(build, "a = Abs(x) y = Mul(a, z)")
    assert private_producer(node.inputs[0], "Abs").name == "make_a"
    assert private_producer(node.inputs[0], "Neg") is None
    node = last_node(build, "a = Abs(x) b = Neg(a) y = Mul(a, b)")
    assert private_producer(node.inputs[0], "Abs") is None
