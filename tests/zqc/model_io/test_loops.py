"""A Loop that says itself that it never ends is refused before it runs."""

import numpy as np
import pytest

from tests import nets
from zqc.errors import ModelError
from zqc.model_io.soundness import check_sound


def loop(rounds, condition, body="Identity (go)", **arrays):
    """A model with one Loop."""
    text = f"""net (float[4] x) => (float[4] y) {{
        y = Loop ({rounds}, {condition}, x) <body = round
            (int64 i, bool go, float[4] was) => (bool on, float[4] now) {{
                on = {body} now = Relu (was)
            }}>
    }}"""
    arrays |= {"many": np.array(2**40), "few": np.array(100), "yes": np.array(True)}
    return nets.model(text, **arrays)


@pytest.mark.parametrize(
    ("rounds", "found"), [("many", "1,099,511,627,776 rounds"), ("", "no end")]
)
def test_no_end(rounds, found):
    """Too many rounds, or none said, and a condition that stays what it is."""
    with pytest.raises(ModelError, match=f"the Loop that writes 'y' has {found}"):
        check_sound(loop(rounds, "yes"))
    with pytest.raises(ModelError, match=found):
        check_sound(loop(rounds, "yes", "Constant <value = bool {1}> ()"))


def test_an_end():
    """A Loop with few rounds, or whose condition is computed, is left to its first run."""
    check_sound(loop("few", "yes"))
    check_sound(loop("few", ""))
    check_sound(loop("many", "yes", "Not (go)"))
    check_sound(loop("", "yes", "Constant <value = bool {0}> ()"))
