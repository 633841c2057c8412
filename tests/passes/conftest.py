"""What the tests of passes share."""

import numpy as np
import pytest

from tests.passes import helpers


@pytest.fixture(scope="session")
def build():
    """``build_model``."""
    return helpers.build_model


@pytest.fixture(scope="session")
def run():
    """``run_model``."""
    return helpers.run_model


@pytest.fixture(scope="session")
def operators():
    """``operator_types``."""
    return helpers.operator_types


@pytest.fixture(scope="session")
def error():
    """``relative_error``."""
    return helpers.relative_error


@pytest.fixture
def rng():
    """Random numbers from a fixed seed."""
    return np.random.default_rng(20240)


@pytest.fixture(scope="session")
def mixed():
    """``mixed_model``."""
    return helpers.mixed_model
