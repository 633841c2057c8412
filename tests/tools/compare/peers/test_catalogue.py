"""What is installed for each peer, and which runner it has."""

from tools.compare.peers.catalogue import PEERS, ZQC
from tools.compare.peers.environment import RUNNERS
from zqc import Recipe


def test_every_peer_has_its_runner():
    """The catalogue and the folder of runners agree, and every version is pinned."""
    found = {path.stem for path in RUNNERS.glob("run_*.py")}
    assert found == {f"run_{peer.key}" for peer in PEERS}
    assert all("==" in requirement for peer in PEERS for requirement in peer.requirements)


def test_no_two_rows_are_named_alike():
    """Bits and words tell the variants of a quantizer apart, and so its files."""
    for peer in (ZQC, *PEERS):
        names = {(variant.bits, variant.text) for variant in peer.variants}
        assert len(names) == len(peer.variants), peer.key


def test_variants_are_chosen_by_bits_and_by_words():
    """Without either all are; the words begin with the text, in capitals or not."""
    assert ZQC.narrowed((), "") == ZQC
    assert {variant.bits for variant in ZQC.narrowed(("W4A4",), "").variants} == {"W4A4"}
    (one,) = ZQC.narrowed(("W4A8", "W8A8"), "STANDARD").variants
    assert (one.bits, one.text) == ("W4A8", "standard effort")
    assert not ZQC.narrowed((), "effort").variants


def test_recipes_of_zqc_have_the_bits_of_their_rows():
    """What stands in the table is what is compiled."""
    for variant in ZQC.variants:
        recipe = Recipe(**variant.config)
        assert variant.bits == f"W{recipe.bits}A{recipe.act_bits}"
        assert variant.text == f"{recipe.effort} effort"
