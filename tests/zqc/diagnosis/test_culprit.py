"""The layer that is out of order, in a sentence."""

from tests.diagnosed import canonical, joined_outputs, tensors
from tests.zqc.diagnosis.test_ranking import layer
from zqc.diagnosis.culprit import culprit
from zqc.diagnosis.ranking import ranked, with_suspects
from zqc.diagnosis.read_quantized import read


def said(layers, *, behind=False, model=None):
    """The sentence about some layers of a model."""
    quantized = read(canonical(bits=8) if model is None else model, {"images": tensors()})
    return culprit(ranked(with_suspects(layers, {})), quantized, behind=behind)


def test_the_culprit_is_named_with_everything_that_is_wrong():
    """And how many others are out of order."""
    worst = layer("neck", 5.0, 40.0, reasons=("its weights are wrong", "its output is clipped"))
    others = [layer(name, 9.0, 40.0, reasons=("odd",)) for name in ("a", "b")]
    sentence = "the culprit is neck: its weights are wrong; its output is clipped"
    assert said([worst, layer("fine", 30.0)]) == sentence
    assert said([worst, others[0]]) == f"{sentence} (1 more layer is out of order)"
    assert said([worst, *others]) == f"{sentence} (2 more layers are out of order)"


def test_what_does_no_harm_is_no_culprit():
    """It is said all the same, if nothing explains it; what is odd a little is not."""
    odd = layer("neck", 60.0, 80.0, reasons=("its weights are wrong",), severe=True)
    assert said([odd, layer("fine", 30.0)]) == (
        "neck is out of order, though it hardly harms the outputs on these pictures: its weights "
        "are wrong"
    )
    slight = layer("neck", 60.0, 80.0, reasons=("a little wide",))
    assert said([slight, layer("fine", 30.0)]) == (
        "no layer is out of order for the bits it has; the one that harms most is fine (8 bits)"
    )


def test_what_is_computed_behind_the_layers():
    """Swapped perhaps, or on one grid as a whole, whose coarsest step is named."""
    start = (
        "no layer is out of order, but what is computed behind the last ones, such as head, "
        "differs: "
    )
    layers = [layer("head", 20.0)]
    assert said(layers, behind=True) == (
        f"{start}outputs may have been swapped there, or computed otherwise"
    )
    joined = said(layers, behind=True, model=joined_outputs(canonical(bits=8), 64.0))
    assert joined == (
        f"{start}box_logits is quantized there as a whole, in steps of 64, and scores that are "
        "smaller vanish"
    )
